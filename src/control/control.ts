import { join } from 'node:path'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../base/index.ts'
import { EmbeddedStore } from '../store/index.ts'
import type { ControlConfig } from './config.ts'
import { startEventRetention } from './event-retention.ts'
import type { ControlFeature, FeatureControllers } from './feature.ts'
import { makeHttpApp } from './http-app.ts'
import { IssuedTokens } from './issued-tokens.ts'
import { Listeners } from './listeners.ts'
import { NodeProxy } from './node-proxy.ts'
import { readTokens } from './tokens.ts'
import { WatchServer } from './watch-server.ts'

/** Control as it runs. */
export interface Control {
  /** Where it serves, as the rest client takes it. */
  urls: string[]
  /** The store, for what runs in the same process. */
  store: EmbeddedStore
  /** Reads tokens and certificate again. Throws InvalidInput, then the old ones stay in force. */
  reload(): void
  /** Takes no more requests, ends watches, lets running requests finish, stops controllers, closes the store. */
  stop(): Promise<void>
}

const drainPatience = 5_000

/** File of the store within the data directory. */
export function storeFileOf(config: ControlConfig): string {
  return join(config.dataDirectory, 'store.db')
}

/** Starts control: store, then controllers, then server. What was started is stopped again when a later part fails. */
export async function startControl(
  config: ControlConfig,
  options: { logger: Logger; features: ControlFeature[] },
): Promise<Control> {
  const { logger, features } = options
  await using started = new AsyncDisposableStack()
  let fileTokens = readTokens(config.tokensFile)
  const issuedTokens = new IssuedTokens(join(config.dataDirectory, 'tokens.json'))
  const store = new EmbeddedStore({
    file: storeFileOf(config),
    changeLogLimit: config.changeLogLimit,
    syncEveryWrite: config.syncEveryWrite,
    admit: (request, reader) => features.forEach((feature) => feature.admit(request, reader)),
  })
  started.defer(() => store.close())
  const proxy = new NodeProxy(store, config)
  started.defer(() => proxy.close())
  const controllers: FeatureControllers[] = []
  for (const feature of features) {
    const running = await feature.start(store.withSharedLists(), { logger })
    started.defer(() => running.stop())
    controllers.push(running)
  }
  const retention = startEventRetention(store, { hours: config.eventRetentionHours, logger })
  started.defer(() => retention.stop())

  const watches = new WatchServer(store, logger)
  let ready = false
  const parts = {
    store,
    watches,
    proxy,
    fileTokens: () => fileTokens,
    issuedTokens,
    isReady: () => ready,
    controllers,
    logger,
    bodyLimit: config.bodyLimit,
  }
  const app = makeHttpApp(parts)
  await app.ready()
  started.defer(() => app.close())
  const listeners = new Listeners(config, (request: IncomingMessage, response: ServerResponse) => {
    if (!ready) response.setHeader('connection', 'close')
    app.routing(request, response)
  })
  await listeners.open()
  started.defer(async () => {
    ready = false
    listeners.stopAccepting()
    watches.endAll()
    await listeners.drain(drainPatience)
  })
  ready = true
  const running = started.move()
  return {
    urls: listeners.urls,
    store,
    reload: () => {
      const fresh = readTokens(config.tokensFile)
      listeners.reloadCertificate()
      fileTokens = fresh
      watches.endAll() // whoever still may comes back with a token
    },
    stop: () => running.disposeAsync(),
  }
}
