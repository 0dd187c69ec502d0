import { hostname } from 'node:os'
import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { allKinds, type KindDefinition, type Pod } from '../../api/index.ts'
import { asCarbonadoError, type Logger } from '../../base/index.ts'
import { admitPrimarySubnets } from '../../network/control.ts'
import { acquireLeadership, fencedStore, RestStore, type Leadership, type ResourceStore } from '../../store/index.ts'
import type { ControlFeature, FeatureControllers } from '../feature.ts'
import { Listeners } from '../listeners.ts'
import { apiServerOf, type KubernetesControlConfig } from './config.ts'
import { ObjectCache } from './object-cache.ts'
import { kubernetesKinds, PodControllers, podEndpoints, PodIndices } from './pod-controllers.ts'
import { bindPod, SchedulingFacts, type Binding } from './scheduling/index.ts'
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
  const cache = new ObjectCache(store, [...kinds, ...kubernetesKinds], logger)
  started.defer(() => cache.stop())
  await cache.start()
  const indices = new PodIndices(cache)
  const facts = new SchedulingFacts(cache, indices)
  const endpoints = podEndpoints(store, cache, indices)
  const startPods = (fenced: ResourceStore): PodControllers => {
    const pods = new PodControllers({ store: fenced, cache, logger }, indices, facts)
    pods.start()
    return pods
  }
  const startFeature: LeadingOptions['startFeature'] = (feature, fenced) =>
    feature.start(fenced, { logger, informerOf: (kind) => cache.viewOf(kind) })
  const leading = new Leading(store, config, { logger, features, startFeature, startPods })
  started.defer(() => leading.stop())
  const app = makeWebhookApp({
    kinds,
    reader: cache,
    admit(request, reader) {
      for (const feature of features) feature.admit(request, reader)
      admitPrimarySubnets(request, reader)
    },
    agents: config.kubernetes.agents,
    isLeading: () => leading.isLeading,
    ...(config.scheduler
      ? {
          scheduler: {
            demandOf: (pod: Pod) => facts.demandOf(pod),
            nodeFacts: (name: string) => facts.nodeFacts(name),
            bind: (binding: Binding) => bindPod({ store, reader: cache, endpoints, logger }, binding),
          },
        }
      : {}),
    bodyLimit: config.bodyLimit,
    logger,
  })
  await app.ready()
  started.defer(() => app.close())
  const listeners = new Listeners(
    { listen: [config.listen], tls: config.tls, clientAuthorityFile: config.scheduler?.authorityFile },
    app.routing as RequestListener,
  )
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

interface LeadingOptions {
  logger: Logger
  features: ControlFeature[]
  startFeature: (feature: ControlFeature, store: ResourceStore) => Promise<FeatureControllers>
  startPods: (store: ResourceStore) => PodControllers
}

/** Stands for election, and runs the controllers while this replica leads. */
class Leading {
  readonly lost: Promise<void>
  readonly #store: RestStore
  readonly #config: KubernetesControlConfig
  readonly #options: LeadingOptions
  readonly #stopping = new AbortController()
  readonly #whenLost = Promise.withResolvers<void>()
  #running: Promise<void> | undefined
  #leadership: Leadership | undefined

  constructor(store: RestStore, config: KubernetesControlConfig, options: LeadingOptions) {
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
    const { logger, features, startFeature, startPods } = this.#options
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
    const over = aborted(ended)
    for (const feature of features) {
      const running = await unlessOver(startFeature(feature, store), over)
      if (!running) break
      controllers.defer(() => running.stop())
    }
    if (!ended.aborted) {
      const pods = startPods(store)
      controllers.defer(() => pods.stop())
    }
    await over
    if (!stopping.aborted) this.#whenLost.resolve()
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}

/**
 * What starts, or undefined when all is over before: it waits for the API server, however long that is away. What starts
 * after all is stopped then.
 */
async function unlessOver<T extends { stop(): unknown }>(
  starting: Promise<T>,
  over: Promise<undefined>,
): Promise<T | undefined> {
  const first = await Promise.race([starting, over])
  if (!first) starting.then((late) => late.stop()).catch(() => {})
  return first
}
