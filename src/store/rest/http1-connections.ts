import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { HttpAnswer, HttpRequest, ServerAddress, Trust } from './http-connections.ts'

/** Milliseconds that a connection is kept unused; less when the server says that it closes earlier. */
const unusedTimeout = 60_000

/** Unused connections that are kept after a burst; each costs both sides its TLS buffers. */
const mostUnused = 16

/** Connections of HTTP/1.1 to one server, one per request at a time, that are kept and used again. */
export class Http1Connections {
  readonly #target: RequestOptions
  readonly #agent: HttpAgent | HttpsAgent
  readonly #request: typeof httpRequest

  /** Opens no connection yet. */
  constructor(address: ServerAddress, trust: Trust) {
    const options = { keepAlive: true, noDelay: true, timeout: unusedTimeout, maxFreeSockets: mostUnused }
    const secure = address.protocol === 'https:'
    this.#agent = secure ? new HttpsAgent({ ...options, ...trust }) : new HttpAgent(options)
    this.#request = secure ? httpsRequest : httpRequest
    this.#target = { ...address, agent: this.#agent }
  }

  /** Resolves with the head of the answer. Rejects with whatever went wrong on the way. */
  send({ method, path, headers, body, signal, onInformation, idleTimeout }: HttpRequest): Promise<HttpAnswer> {
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
      request.once('response', (response) => {
        answer = response
        resolve({ statusCode: response.statusCode!, body: response })
      })
      request.once('timeout', () => breakOff(new Error(`nothing was heard for ${idleTimeout / 1000} s`)))
      request.once('close', () => {
        signal.removeEventListener('abort', onAbort)
        if (!answer) reject(new Error('the connection was closed without an answer')) // such as after 101
      })
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
