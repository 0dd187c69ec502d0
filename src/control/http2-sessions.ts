import type { Http2SecureServer, SecureServerOptions, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'

/** What one connection of HTTP/2 may cost. Node's own bounds hold for everything that is not named. */
export const http2Limits: SecureServerOptions = {
  settings: { maxConcurrentStreams: 250, enablePush: false },
}

/** Milliseconds. */
interface SessionTimes {
  /** Between pings of a session; one that has not answered the last by then is cut, and its watches end. */
  pingInterval: number
  /** Until a session without a request is closed. */
  unused: number
  /** For the body of a request. */
  request: number
  /** For which a client may take nothing of what was answered. */
  answer: number
}

/** Milliseconds between telling a client that its session or its connection ends and the end. */
const lastWords = 1_000

const usualTimes: SessionTimes = { pingInterval: 45_000, unused: 75_000, request: 30_000, answer: 60_000 }

/** Ends sessions of HTTP/2 whose client has gone without a word, does nothing, or is too slow. */
export function guardSessions(server: Http2SecureServer, times: SessionTimes = usualTimes): void {
  server.on('secureConnection', closeOnceEnded)
  server.on('session', (session) => {
    session.on('error', () => session.destroy()) // what a client does wrong is not for the log
    const stopPings = keepPinging(session, times.pingInterval)
    const stopWaiting = closeWhenUnused(session, times.unused)
    session.once('close', () => {
      stopPings()
      stopWaiting()
    })
    session.on('stream', (stream) => {
      limitRequest(stream, times.request)
      limitAnswer(stream, times.answer)
    })
  })
}

/** A session that its client has ended takes leave, too, and would wait for ever for the client to close the connection. */
function closeOnceEnded(socket: TLSSocket): void {
  socket.once('finish', () => setTimeout(() => socket.destroy(), lastWords).unref())
}

function keepPinging(session: ServerHttp2Session, interval: number): () => void {
  let isWaiting = false
  const timer = setInterval(() => {
    if (session.destroyed) return clearInterval(timer) // it says 'close' only when its socket has gone too
    if (isWaiting) return session.destroy()
    isWaiting = session.ping(() => (isWaiting = false))
  }, interval).unref()
  return () => clearInterval(timer)
}

function closeWhenUnused(session: ServerHttp2Session, patience: number): () => void {
  let streams = 0
  // a session that is asked to close would wait for the other end for ever; destroyed, it takes its socket along
  const end = (): void => {
    if (session.destroyed) return
    session.goaway()
    timer = setTimeout(() => session.destroy(), lastWords).unref() // a request may have been on its way
  }
  const wait = (): NodeJS.Timeout => setTimeout(end, patience).unref()
  let timer = wait()
  session.on('stream', (stream) => {
    streams += 1
    clearTimeout(timer)
    stream.once('close', () => {
      streams -= 1
      if (streams === 0 && !session.destroyed) timer = wait()
    })
  })
  return () => clearTimeout(timer)
}

/** A client that opens no window keeps what was answered in memory; Node sees to it that one that takes some of it counts as alive. */
function limitAnswer(stream: ServerHttp2Stream, patience: number): void {
  stream.setTimeout(patience, () => {
    if (stream.writableLength > 0) stream.close(0x8) // CANCEL
  })
}

function limitRequest(stream: ServerHttp2Stream, patience: number): void {
  if (stream.endAfterHeaders) return
  const late = setTimeout(() => stream.close(0x8), patience).unref() // CANCEL
  const settled = (): void => clearTimeout(late)
  stream.once('end', settled)
  stream.once('close', settled)
}
