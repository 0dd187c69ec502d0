import type { Readable } from 'node:stream'
import { text as readBody } from 'node:stream/consumers'
import { urlToHttpOptions } from 'node:url'
import { CarbonadoError, InvalidInput, readTextFile, TokenFile, Unavailable } from '../../base/index.ts'
import { EarlyAnswer, earlyPreference } from './early-answer.ts'
import {
  HttpConnections,
  type HttpAnswer,
  type HttpRequest,
  type ServerAddress,
  type Trust,
} from './http-connections.ts'
import { errorOf } from './status.ts'

/** How to reach a Kubernetes-style server. */
export interface RestOptions {
  /** `https://HOST:PORT`, `http://HOST:PORT` or `unix:///PATH`. */
  server: string
  /** PEM text of the authorities that may sign the server's certificate; absent: those of the system. */
  ca?: string
  /** File with the same. */
  caFile?: string
  /** Bearer token, or the file that holds it (read again every minute, so that it can be replaced). */
  token?: string
  tokenFile?: string
  /** PEM text of a certificate, with its key, that says who asks. */
  clientCertificate?: string
  clientKey?: string
  /** Do not check the server's certificate. */
  insecure?: boolean
  /** Milliseconds until a request without an answer is Unavailable; 10 000 unless told. */
  timeout?: number
  /**
   * Milliseconds without a line, bookmarks included, until a watch is Unavailable. Unless told 95 000, and 660 000 over
   * HTTP/2, whose pings find a dead connection: an API server on etcd without progress notifications has no bookmarks for
   * what does not change, and ends the watch after ten minutes by itself.
   */
  watchIdleTimeout?: number
}

/** A request with a JSON body. */
export interface RestRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With the query string. */
  path: string
  body?: unknown
  contentType?: string
  /** Beside those that every request has. */
  headers?: Record<string, string>
  /** Told what will be answered, when the server knows before its disk has it. */
  onEarlyAnswer?: (likely: unknown) => void
}

const watchIdleTimeouts = { idleTimeout: 95_000, pingedIdleTimeout: 660_000 }

/** Codes of errors that say that a connection ended, not what became of the request. */
const closedConnection = new Set([
  'ECONNRESET',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_HTTP2_GOAWAY_SESSION',
  'ERR_HTTP2_INVALID_SESSION',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_STREAM_CANCEL',
])

/** JSON requests over kept-alive connections; every failure is a CarbonadoError. */
export class RestClient {
  readonly #options: RestOptions
  readonly #connections: HttpConnections
  readonly #timeout: number
  readonly #tokenFile: TokenFile | undefined

  /** Opens no connection yet. Throws InvalidInput for a server or files that cannot be right. */
  constructor(options: RestOptions) {
    this.#options = options
    this.#timeout = options.timeout ?? 10_000
    if (options.tokenFile !== undefined) this.#tokenFile = new TokenFile(options.tokenFile, 'token')
    this.#connections = new HttpConnections(parseServer(options.server), trustOf(options))
  }

  /** Sends a request and returns the JSON that was answered. Throws what the server's Status says, or Unavailable. */
  async json<T>(request: RestRequest): Promise<T> {
    try {
      return await this.#json<T>(request)
    } catch (error) {
      // A kept connection may have been closed just when it was taken again; reading twice does no harm.
      if (request.method === 'GET' && isClosedConnection(error)) return this.#json<T>(request)
      throw error
    }
  }

  async #json<T>(request: RestRequest): Promise<T> {
    const patience = new AbortController()
    const late = setTimeout(() => patience.abort(), this.#timeout)
    const early = request.onEarlyAnswer && new EarlyAnswer(request.onEarlyAnswer)
    try {
      const options = { idleTimeout: this.#timeout, isWhole: true, early }
      const answer = await this.#send(request, patience.signal, options)
      if (answer.body === undefined) return early!.likely as T
      return parse<T>(answer.statusCode, await this.#text(answer.body, patience.signal))
    } finally {
      clearTimeout(late)
    }
  }

  /** Opens a stream (a watch). `signal` ends it; then errors from reading the stream are to be ignored. */
  async stream(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const opening = new AbortController()
    const late = setTimeout(() => opening.abort(), this.#timeout)
    const ended = AbortSignal.any([opening.signal, signal])
    try {
      const { watchIdleTimeout: idleTimeout } = this.#options
      const timeouts = idleTimeout === undefined ? watchIdleTimeouts : { idleTimeout }
      const { statusCode, body } = await this.#send({ method: 'GET', path }, ended, timeouts)
      if (statusCode === 200 && typeof body === 'object') return body
      return parse(statusCode, await this.#text(body, ended))
    } finally {
      clearTimeout(late)
    }
  }

  /** Makes an Unavailable of a connection problem. */
  unavailable(error: unknown): CarbonadoError {
    return this.#unavailable(error, undefined)
  }

  /** Tells the server that a request is about to come, where that is possible. */
  wake(): void {
    this.#connections.wake()
  }

  async close(): Promise<void> {
    this.#connections.destroy()
  }

  async #send(
    request: RestRequest,
    signal: AbortSignal,
    { early, ...options }: Pick<HttpRequest, 'idleTimeout' | 'pingedIdleTimeout' | 'isWhole'> & { early?: EarlyAnswer },
  ): Promise<HttpAnswer> {
    const { method, path, contentType = 'application/json' } = request
    const body = request.body === undefined ? undefined : JSON.stringify(request.body)
    const headers = { ...this.#headers(body === undefined ? undefined : contentType), ...request.headers }
    const following: Pick<HttpRequest, 'onInformation' | 'isKnownBy'> = {}
    if (early) {
      headers.prefer = earlyPreference
      following.onInformation = (informational) => early.take(informational)
      following.isKnownBy = (statusCode, head) => early.isConfirmedBy(statusCode, head)
    }
    try {
      return await this.#connections.send({ method, path, headers, body, signal, ...following, ...options })
    } catch (error) {
      throw this.#unavailable(error, signal)
    }
  }

  async #text(body: Readable | string | undefined, signal: AbortSignal): Promise<string> {
    if (body === undefined || typeof body === 'string') return body ?? ''
    try {
      return await readBody(body)
    } catch (error) {
      throw this.#unavailable(error, signal)
    }
  }

  #headers(contentType: string | undefined): Record<string, string> {
    const headers: Record<string, string> = { accept: 'application/json' }
    if (contentType) headers['content-type'] = contentType
    const token = this.#options.token ?? this.#tokenFile?.token
    if (token) headers.authorization = `Bearer ${token}`
    return headers
  }

  #unavailable(error: unknown, signal: AbortSignal | undefined): CarbonadoError {
    if (error instanceof CarbonadoError) return error
    const why = signal?.aborted ? `no answer within ${this.#timeout / 1000} s` : (error as Error).message
    return new Unavailable(`${this.#options.server} does not answer: ${why}`, {
      remedy: 'Check that control runs, that its address is right and that the network lets you reach it.',
      cause: error,
    })
  }
}

function trustOf({ ca, caFile, insecure, clientCertificate, clientKey }: RestOptions): Trust {
  const authorities = ca ?? (caFile === undefined ? undefined : readTextFile(caFile, 'certificate authority'))
  return { ca: authorities, cert: clientCertificate, key: clientKey, rejectUnauthorized: !insecure }
}

function parseServer(server: string): ServerAddress {
  const unix = /^unix:\/\/(\/.+)$/.exec(server)
  if (unix) return { protocol: 'http:', socketPath: unix[1]! }
  const url = URL.parse(server)
  const protocol = url?.protocol
  if (url && (protocol === 'https:' || protocol === 'http:') && url.pathname === '/') {
    return { protocol, hostname: urlToHttpOptions(url).hostname!, port: url.port } // without the brackets of IPv6
  }
  throw new InvalidInput(`"${server}" is not the address of a server`, {
    remedy: 'Write https://HOST:PORT or unix:///PATH.',
  })
}

function parse<T>(statusCode: number, text: string): T {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    if (statusCode < 300)
      throw new Unavailable('The server answered with something that is not JSON', {
        remedy: 'Check that the address is that of control and not of something else.',
      })
  }
  if (statusCode >= 300) throw errorOf(statusCode, body)
  return body as T
}

function isClosedConnection(error: unknown): boolean {
  const code = ((error as Error).cause as { code?: string } | undefined)?.code
  return code !== undefined && closedConnection.has(code)
}
