import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest, type AgentOptions } from 'node:https'

/** Where a server is: a host and port, with or without TLS, or a unix socket. */
export type ServerAddress =
  { protocol: 'http:' | 'https:'; hostname: string; port: string } | { protocol: 'http:'; socketPath: string }

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
  /** Milliseconds without a byte in either direction until the request is broken off. */
  idleTimeout: number
}

/** Milliseconds that a connection is kept unused; less when the server says that it closes earlier. */
const unusedTimeout = 60_000
/** Unused connections that are kept after a burst; each costs both sides its TLS buffers. */
const mostUnused = 16

/** Connections to one server that are kept and used again. */
export class HttpConnections {
  readonly #target: RequestOptions
  readonly #agent: HttpAgent | HttpsAgent
  readonly #request: typeof httpRequest

  /** Opens no connection yet. */
  constructor(address: ServerAddress, tls: Pick<AgentOptions, 'ca' | 'rejectUnauthorized'>) {
    const options = { keepAlive: true, noDelay: true, timeout: unusedTimeout, maxFreeSockets: mostUnused }
    const secure = address.protocol === 'https:'
    this.#agent = secure ? new HttpsAgent({ ...options, ...tls }) : new HttpAgent(options)
    this.#request = secure ? httpsRequest : httpRequest
    this.#target = { ...address, agent: this.#agent }
  }

  /** Resolves with the head of the answer, whose body is to be read. Rejects with whatever went wrong on the way. */
  send({ method, path, headers, body, signal, onInformation, idleTimeout }: HttpRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      // said even for DELETE, whose connection Node would otherwise not keep
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
      const request = this.#request({
        ...this.#target,
        method,
        path,
        headers: { ...headers, ...length },
        timeout: idleTimeout,
      })
      let answer: IncomingMessage | undefined
      const breakOff = (why: Error): void => void (answer ?? request).destroy(why)
      const onAbort = (): void => breakOff(signal.reason as Error)
      request.on('error', reject)
      if (onInformation) request.on('information', ({ headers }) => onInformation(headers))
      request.once('response', (response) => resolve((answer = response)))
      request.once('timeout', () => breakOff(new Error(`nothing was heard for ${idleTimeout / 1000} s`)))
      request.once('close', () => signal.removeEventListener('abort', onAbort))
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      request.end(body)
    })
  }

  /** Breaks off everything. */
  destroy(): void {
    this.#agent.destroy()
  }
}
