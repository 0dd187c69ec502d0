import { hostname } from 'node:os'
import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { allKinds, type KindDefinition } from '../../api/index.ts'
import { asCarbonadoError, type Logger } from '../../base/index.ts'
import { acquireLeadership, fencedStore, RestStore, type Leadership } from '../../store/index.ts'
import type { ControlFeature } from '../feature.ts'
import { Listeners } from '../listeners.ts'
import { apiServerOf, type KubernetesControlConfig } from './config.ts'
import { ObjectCache } from './object-cache.ts'
import { makeWebhookApp } from './webhook-app.ts'

/** Control on a Kubernetes cluster, as it runs. */
export interface KubernetesControl {
  /** Where webhooks, health and metrics are served. */
  urls: string[]
  /** Settles when this process led and no longer does: the controllers' memory is of no use then. */
  lost: Promise<void>
  isLeading(): boolean
  /** Stops controllers, lets go of the lease, ends the server. */
  stop(): Promise<void>
}

/** Milliseconds; a request of a leader that is cut off must have ended before another leads. */
const requestTimeout = 5_000
const drainPatience = 5_000

/**
 * Starts control against the API server: webhooks at once, controllers as soon as this replica leads. Resolves once
 * webhooks can answer.
 */
export async function startKubernetesControl(
  config: KubernetesControlConfig,
  { logger, features }: { logger: Logger; features: ControlFeature[] },
): Promise<KubernetesControl> {
  await using started = new AsyncDisposableStack()
  const store = new RestStore({ ...apiServerOf(config.kubernetes), timeout: requestTimeout })
  started.defer(() => store.close())
  const kinds = (allKinds as unknown as KindDefinition[]).filter(({ group }) => group === 'carbonado.io')
  const cache = new ObjectCache(store, kinds, logger)
  started.defer(() => cache.stop())
  await cache.start()
  const leading = new Leading(store, config, { logger, features })
  started.defer(() => leading.stop())
  const app = makeWebhookApp({
    kinds,
    reader: cache,
    admit: (request, reader) => features.forEach((feature) => feature.admit(request, reader)),
    isLeading: () => leading.isLeading,
    bodyLimit: config.bodyLimit,
    logger,
  })
  await app.ready()
  started.defer(() => app.close())
  const listeners = new Listeners({ listen: [config.listen], tls: config.tls }, app.routing as RequestListener)
  await listeners.open()
  started.defer(async () => {
    listeners.stopAccepting()
    await listeners.drain(drainPatience)
  })
  leading.start()
  const running = started.move()
  return {
    urls: listeners.urls,
    lost: leading.lost,
    isLeading: () => leading.isLeading,
    stop: () => running.disposeAsync(),
  }
}

/** Stands for election, and runs the controllers while this replica leads. */
class Leading {
  readonly lost: Promise<void>
  readonly #store: RestStore
  readonly #config: KubernetesControlConfig
  readonly #options: { logger: Logger; features: ControlFeature[] }
  readonly #stopping = new AbortController()
  readonly #whenLost = Promise.withResolvers<void>()
  #running: Promise<void> | undefined
  #leadership: Leadership | undefined

  constructor(
    store: RestStore,
    config: KubernetesControlConfig,
    options: { logger: Logger; features: ControlFeature[] },
  ) {
    this.#store = store
    this.#config = config
    this.#options = options
    this.lost = this.#whenLost.promise
  }

  get isLeading(): boolean {
    return this.#leadership?.isHeld() ?? false
  }

  start(): void {
    this.#running = this.#run().catch((thrown: unknown) => {
      if (this.#stopping.signal.aborted) return
      const error = asCarbonadoError(thrown)
      this.#options.logger.error({ err: error, remedy: error.remedy }, 'the controllers cannot run')
      this.#whenLost.resolve()
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('control stops'))
    await this.#running
  }

  async #run(): Promise<void> {
    const { logger, features } = this.#options
    const { lease } = this.#config.kubernetes
    const identity = `${hostname()}_${randomUUID()}`
    const stopping = this.#stopping.signal
    const leadership = await acquireLeadership({ store: this.#store, lease, identity, logger }, stopping)
    this.#leadership = leadership
    logger.notice({ identity }, 'this control leads')
    const ended = AbortSignal.any([stopping, leadership.lost])
    await using controllers = new AsyncDisposableStack()
    controllers.defer(() => leadership.release())
    const store = fencedStore(this.#store, leadership)
    for (const feature of features) {
      const running = await feature.start(store, { logger })
      controllers.defer(() => running.stop())
    }
    await new Promise<void>((resolve) => {
      if (ended.aborted) resolve()
      else ended.addEventListener('abort', () => resolve(), { once: true })
    })
    if (!stopping.aborted) this.#whenLost.resolve()
  }
}
