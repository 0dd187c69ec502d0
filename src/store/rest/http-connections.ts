import type { IncomingHttpHeaders } from 'node:http'
import type { ConnectionOptions } from 'node:tls'
import type { Readable } from 'node:stream'
import { Http1Connections } from './http1-connections.ts'
import { Http2Connections, type KeepAlive } from './http2-connections.ts'

/** Where a server is: a host and port, with or without TLS, or a unix socket. */
export type ServerAddress =
  { protocol: 'http:' | 'https:'; hostname: string; port: string } | { protocol: 'http:'; socketPath: string }

/** Whom to believe that it is the server, and how to prove who one is. */
export type Trust = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>

/** One request, as it goes over the wire. */
export interface HttpRequest {
  method: string
  /** With the query string. */
  path: string
  headers: Record<string, string>
  body?: string
  /** Breaks the request off, and the answer while it is read. */
  signal: AbortSignal
  /** Told the headers of informational answers (1xx). */
  onInformation?: (headers: IncomingHttpHeaders) => void
  /** Whether a whole answer with this head needs no body, because what it would say is known. */
  isKnownBy?: (statusCode: number, head: IncomingHttpHeaders) => boolean
  /** Milliseconds without a byte in either direction until the request is broken off. */
  idleTimeout: number
  /** The same on a connection whose other end is pinged; `idleTimeout` unless told. */
  pingedIdleTimeout?: number
  /** Whether the answer is one of a known end and wanted as a whole, which is faster than to read it as a stream. */
  isWhole?: boolean
}

/**
 * The head of an answer, and its body: to be read, or all of it where a whole answer was wanted and could be had; undefined
 * where the head was enough.
 */
export interface HttpAnswer {
  statusCode: number
  body: Readable | string | undefined
}

/**
 * Connections to one server that are kept and used again: with TLS one of HTTP/2 for everything at once, when the server
 * speaks it, since each connection costs both sides its TLS buffers; otherwise as many of HTTP/1.1 as there are requests
 * at a time.
 */
export class HttpConnections {
  readonly #plain: Http1Connections
  readonly #multiplexed: Http2Connections | undefined
  /** What the server speaks, as far as it is known. */
  #protocol: 'h2' | 'http/1.1' | undefined

  /** Opens no connection yet. */
  constructor(address: ServerAddress, trust: Trust, keepAlive?: KeepAlive) {
    this.#plain = new Http1Connections(address, trust)
    if (address.protocol === 'https:') this.#multiplexed = new Http2Connections(address, trust, keepAlive)
  }

  /** Resolves with the answer, as far as it is there. Rejects with whatever went wrong on the way. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const multiplexed = this.#multiplexed
    if (!multiplexed) return this.#plain.send(request)
    if (this.#protocol !== 'http/1.1') {
      const answer = await multiplexed.send(request)
      this.#protocol = answer === 'not spoken' ? 'http/1.1' : 'h2'
      if (answer !== 'not spoken') return answer
    }
    try {
      return await this.#plain.send(request)
    } catch (error) {
      this.#protocol = undefined // a server that comes back may be another one
      throw error
    }
  }

  /** Tells the server that a request is about to come, where that is possible. */
  wake(): void {
    this.#multiplexed?.wake()
  }

  /** Breaks off everything. */
  destroy(): void {
    this.#plain.destroy()
    this.#multiplexed?.destroy()
  }
}
