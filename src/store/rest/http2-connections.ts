import type { HttpAnswer, HttpRequest, ServerAddress, Trust } from './http-connections.ts'
import { Http2Connection, isRefused, openHttp2, type KeepAlive } from './http2-connection.ts'

export type { KeepAlive } from './http2-connection.ts'

/** How often a request is sent anew that the server surely has not looked at. */
const attempts = 3

/**
 * Connections of HTTP/2 to one server: one, unless the server allows fewer requests on it than there are at a time. A
 * connection that the server says goodbye on (GOAWAY) ends with its last request; the next request opens a new one.
 */
export class Http2Connections {
  readonly #address: Extract<ServerAddress, { hostname: string }>
  readonly #trust: Trust
  readonly #keepAlive: KeepAlive | undefined
  readonly #open = new Set<Http2Connection>()
  #opening: Promise<Http2Connection | 'not spoken'> | undefined
  readonly #closing = new AbortController()

  constructor(address: Extract<ServerAddress, { hostname: string }>, trust: Trust, keepAlive?: KeepAlive) {
    this.#address = address
    this.#trust = trust
    this.#keepAlive = keepAlive
  }

  /**
   * Resolves with the head of the answer, or learns that the server does not speak HTTP/2; then nothing was sent. Rejects
   * with whatever went wrong on the way.
   */
  async send(request: HttpRequest): Promise<HttpAnswer | 'not spoken'> {
    for (let attempt = 1; ;) {
      const connection = this.#usable ?? (await orAborted(this.#withRoom(), request.signal))
      if (connection === 'not spoken') return connection
      if (!connection.hasRoom) continue // another request took it meanwhile
      try {
        return await connection.send(request)
      } catch (error) {
        if (!isRefused(error) || attempt === attempts) throw error
        attempt += 1
      }
    }
  }

  /** Tells the server that a request is about to come, where there is a connection. */
  wake(): void {
    this.#usable?.wake()
  }

  /** Breaks off everything. */
  destroy(): void {
    this.#closing.abort(new Error('the client was closed'))
    for (const connection of this.#open) connection.destroy()
  }

  get #usable(): Http2Connection | undefined {
    return this.#open.values().find((connection) => connection.hasRoom)
  }

  async #withRoom(): Promise<Http2Connection | 'not spoken'> {
    for (;;) {
      const usable = this.#usable
      if (usable) return usable
      const opened = await (this.#opening ??= this.#openAnother())
      if (opened === 'not spoken' || opened.hasRoom) return opened
    }
  }

  async #openAnother(): Promise<Http2Connection | 'not spoken'> {
    try {
      const session = await openHttp2(this.#address, this.#trust, this.#closing.signal)
      if (session === 'not spoken') return session
      const connection = new Http2Connection(session, this.#keepAlive)
      this.#open.add(connection)
      session.once('close', () => this.#open.delete(connection))
      return connection
    } finally {
      this.#opening = undefined
    }
  }
}

/** What a promise resolves with, unless the signal comes first. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
