import {
  connect as connectHttp2,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2'
import { isIP } from 'node:net'
import { PassThrough, pipeline } from 'node:stream'
import { raceConnections } from '../../base/index.ts'
import type { HttpAnswer, HttpRequest, ServerAddress, Trust } from './http-connections.ts'

/** Milliseconds: how a connection whose other end has gone without a word is noticed. */
export interface KeepAlive {
  /** Between two pings while there are requests. */
  pingInterval: number
  /** Until an answer to a ping is missed, and everything on the connection with it. */
  pingPatience: number
}

/** As clients of Kubernetes have it: a watch on a dead connection must not wait for its own, longer, timeout. */
const usualKeepAlive: KeepAlive = { pingInterval: 30_000, pingPatience: 15_000 }

/** Milliseconds that a connection is kept without a request; servers close it later than that. */
const unusedTimeout = 60_000
/** Requests at a time until the server has told its limit, as Go's servers and RFC 9113 recommend. */
const assumedLimit = 100
/** Bytes under way: of one answer, and of all, so that one that nobody reads does not stop the others. */
const windows = { stream: 256 * 1024, connection: 16 * 1024 * 1024 }

/** Opens a connection, or learns that the server does not speak HTTP/2. Rejects as connecting does. */
export async function openHttp2(
  { hostname, port }: Extract<ServerAddress, { hostname: string }>,
  trust: Trust,
  closing: AbortSignal,
): Promise<ClientHttp2Session | 'not spoken'> {
  const options = {
    ...trust,
    host: hostname,
    port: Number(port || 443),
    ALPNProtocols: ['h2', 'http/1.1'],
    ...(isIP(hostname) ? {} : { servername: hostname }),
  }
  const socket = await raceConnections(options, closing)
  if (socket.alpnProtocol !== 'h2') {
    socket.destroy()
    return 'not spoken'
  }
  socket.setNoDelay(true)
  const authority = `https://${hostname.includes(':') ? `[${hostname}]` : hostname}:${port || 443}`
  const settings = { enablePush: false, initialWindowSize: windows.stream }
  const session = connectHttp2(authority, { createConnection: () => socket, settings })
  session.on('error', () => {}) // those whose requests it had are told
  session.once('connect', () => session.setLocalWindowSize(windows.connection))
  return session
}

/** One connection of HTTP/2 with its requests. */
export class Http2Connection {
  readonly #session: ClientHttp2Session
  readonly #keepAlive: KeepAlive
  #requests = 0
  #pings: NodeJS.Timeout | undefined
  #unused: NodeJS.Timeout | undefined

  constructor(session: ClientHttp2Session, keepAlive: KeepAlive = usualKeepAlive) {
    this.#session = session
    this.#keepAlive = keepAlive
    session.once('close', () => this.#stopTimers())
  }

  /** Whether another request can be sent now. */
  get hasRoom(): boolean {
    if (this.#session.closed || this.#session.destroyed) return false
    const { maxConcurrentStreams = assumedLimit } = this.#session.remoteSettings ?? {}
    return this.#requests < Math.max(1, Math.min(maxConcurrentStreams, 1e6))
  }

  /** Resolves with the answer, or with its head and a body to be read. Rejects with whatever went wrong on the way. */
  send(request: HttpRequest): Promise<HttpAnswer> {
    const { method, path, headers, body, signal, onInformation, isKnownBy, isWhole } = request
    const idleTimeout = request.pingedIdleTimeout ?? request.idleTimeout
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
      const stream = this.#session.request(
        { ':method': method, ':path': path, ...headers, ...length },
        { endStream: body === undefined },
      )
      this.#began()
      const breakOff = (why: Error): void => {
        stream.close(constants.NGHTTP2_CANCEL)
        stream.destroy(why)
      }
      const onAbort = (): void => breakOff(signal.reason as Error)
      let isAnswered = false
      const tell = (answer: HttpAnswer): void => {
        isAnswered = true
        resolve(answer)
      }
      stream.on('error', (error) => reject(wasRefused(stream) ? refusal() : error))
      if (onInformation) stream.on('headers', (informational) => onInformation(informational))
      stream.once('response', (answered) => {
        const statusCode = answered[':status']!
        if (isWhole && isKnownBy?.(statusCode, answered)) {
          stream.resume()
          return tell({ statusCode, body: undefined })
        }
        if (isWhole) return collect(stream, answered, (body) => tell({ statusCode, body }))
        // from now on: whoever reads gets its turn later, when the whole answer may have come and its stream be closed
        const body = pipeline(stream, new PassThrough(), () => {}) // the reader is told
        tell({ statusCode, body })
      })
      stream.setTimeout(idleTimeout, () => breakOff(new Error(`nothing was heard for ${idleTimeout / 1000} s`)))
      stream.once('close', () => {
        signal.removeEventListener('abort', onAbort)
        this.#ended()
        if (!isAnswered) reject(wasRefused(stream) ? refusal() : connectionClosed())
      })
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      else if (body !== undefined) stream.end(body)
    })
  }

  /** Makes the server's process look at the connection: a request that comes soon finds it awake. */
  wake(): void {
    this.#ping()
  }

  destroy(): void {
    this.#session.destroy()
  }

  #began(): void {
    this.#requests += 1
    clearTimeout(this.#unused)
    this.#session.ref()
    this.#pings ??= setInterval(() => this.#ping(), this.#keepAlive.pingInterval).unref()
  }

  #ended(): void {
    this.#requests -= 1
    if (this.#requests > 0 || this.#session.destroyed) return
    this.#stopTimers()
    this.#session.unref() // nobody waits for it
    this.#unused = setTimeout(() => this.#session.close(), unusedTimeout).unref()
  }

  #stopTimers(): void {
    clearInterval(this.#pings)
    clearTimeout(this.#unused)
    this.#pings = undefined
  }

  #ping(): void {
    const { pingPatience } = this.#keepAlive
    const missed = (): Error => new Error(`a ping was not answered within ${pingPatience / 1000} s`)
    const late = setTimeout(() => this.#session.destroy(missed()), pingPatience).unref()
    const isSent = !this.#session.destroyed && this.#session.ping(() => clearTimeout(late))
    if (!isSent) clearTimeout(late) // the session is ending, or enough pings are waited for
  }
}

/**
 * Tells the whole body, once all bytes that the head promised are there, or without such a promise once the server has
 * ended it: servers often do that a moment later. Of a body that was broken off only the stream's end is told.
 */
function collect(stream: ClientHttp2Stream, head: IncomingHttpHeaders, tell: (body: string) => void): void {
  const promised = Number(head['content-length'])
  const parts: Buffer[] = []
  let length = 0
  stream.on('data', (part: Buffer) => {
    parts.push(part)
    length += part.length
    if (length === promised) tell(Buffer.concat(parts).toString())
  })
  stream.once('end', () => {
    if (!stream.aborted && !stream.rstCode) tell(Buffer.concat(parts).toString())
  })
}

const refusals = new Set(['HTTP2_REFUSED', 'ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION'])

/** Whether the server surely has not looked at a request (RFC 9113, 8.7), so that it can be sent anew, whatever it does. */
export function isRefused(error: unknown): boolean {
  return refusals.has((error as { code?: string }).code ?? '')
}

function wasRefused(stream: ClientHttp2Stream): boolean {
  return stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
}

function refusal(): Error {
  return Object.assign(new Error('the server took no more requests on a connection'), { code: 'HTTP2_REFUSED' })
}

function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed before there was an answer'), { code: 'ECONNRESET' })
}
