import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import { apiVersionOf, type KindDefinition, type KubeObject } from '../api/index.ts'
import { asCarbonadoError, type Logger } from '../base/index.ts'
import { compileSelection, statusOf, type EmbeddedStore, type WatchEvent } from '../store/index.ts'
import type { ListQuery } from './query.ts'

const longestWatchSeconds = 3_600
/** Milliseconds that a client may leave a full socket unread. */
const patience = 60_000

/** Serves watches as a stream of JSON lines, and can end all of them. */
export class WatchServer {
  readonly #store: EmbeddedStore
  readonly #logger: Logger
  readonly #open = new Set<AbortController>()
  readonly #lines = new WeakMap<KubeObject, { type: string; line: string }>()

  constructor(store: EmbeddedStore, logger: Logger) {
    this.#store = store
    this.#logger = logger
  }

  /** Ends every watch, so that clients go on elsewhere or when control is back. */
  endAll(): void {
    for (const ending of this.#open) ending.abort()
  }

  /**
   * Answers with the changes until the client goes, the time is up or `endAll`; no later than `expiresAt`, milliseconds
   * since 1970, when the caller's token ends. Throws InvalidInput for selectors.
   */
  async serve(
    kind: KindDefinition,
    query: ListQuery,
    reply: FastifyReply,
    expiresAt = Infinity,
  ): Promise<FastifyReply> {
    compileSelection(kind, query.list) // what is wrong with it must become a 400, not the end of a stream
    const ending = new AbortController()
    const seconds = Math.min(query.timeoutSeconds || longestWatchSeconds, longestWatchSeconds)
    const timer = setTimeout(() => ending.abort(), Math.min(seconds * 1000, Math.max(0, expiresAt - Date.now())))
    this.#open.add(ending)
    reply.hijack()
    const response = reply.raw
    response.on('close', () => ending.abort())
    response.on('error', () => ending.abort())
    try {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      response.flushHeaders()
      await this.#stream(kind, query, response, ending)
    } finally {
      clearTimeout(timer)
      this.#open.delete(ending)
      response.end()
    }
    return reply
  }

  async #stream(
    kind: KindDefinition,
    query: ListQuery,
    response: ServerResponse,
    ending: AbortController,
  ): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = query.list
    const { resourceVersion, allowBookmarks } = query
    const { signal } = ending
    const options = { namespace, labelSelector, fieldSelector, resourceVersion, allowBookmarks, signal }
    try {
      for await (const event of this.#store.watch(kind, options)) {
        await this.#store.durable(versionOf(event))
        if (!response.write(this.#lineOf(kind, event))) await drained(response, ending)
        if (signal.aborted) return
      }
    } catch (thrown) {
      if (signal.aborted) return
      const error = asCarbonadoError(thrown)
      if (error.code !== 'Expired') this.#logger.error({ err: error, kind: kind.kind }, 'a watch failed')
      response.write(`${JSON.stringify({ type: 'ERROR', object: statusOf(error) })}\n`)
    }
  }

  /** Objects are shared by all watchers of a change, so each is turned to text once. */
  #lineOf(kind: KindDefinition, event: WatchEvent<KubeObject>): string {
    if (event.type === 'BOOKMARK') {
      const metadata = { resourceVersion: event.resourceVersion }
      return `${JSON.stringify({ type: event.type, object: { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata } })}\n`
    }
    const known = this.#lines.get(event.object)
    if (known?.type === event.type) return known.line
    const line = `${JSON.stringify(event)}\n`
    this.#lines.set(event.object, { type: event.type, line })
    return line
  }
}

function versionOf(event: WatchEvent<KubeObject>): string | undefined {
  return event.type === 'BOOKMARK' ? event.resourceVersion : event.object.metadata.resourceVersion
}

async function drained(response: ServerResponse, ending: AbortController): Promise<void> {
  const late = AbortSignal.timeout(patience)
  try {
    await once(response, 'drain', { signal: AbortSignal.any([ending.signal, late]) })
  } catch {
    if (late.aborted) response.destroy()
    ending.abort()
  }
}
