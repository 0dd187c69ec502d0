import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, constants, createSecureServer, type ClientHttp2Session, type Http2SecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as openTls, type ConnectionOptions } from 'node:tls'
import { afterEach, expect, test, vi } from 'vitest'
import { openSilentWire } from '../store/rest/silent-wire.ts'
import { guardSessions, http2Limits } from './http2-sessions.ts'

const cleanups: (() => void)[] = []
afterEach(() =>
  cleanups
    .splice(0)
    .reverse()
    .forEach((cleanup) => cleanup()),
)

/** Milliseconds of an unused session between being told of its end and the end. */
const lastWords = 1_000

/** Of the product alone: Node's own timers go on. */
const clock: Parameters<typeof vi.useFakeTimers>[0] = {
  toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
}
afterEach(() => void vi.useRealTimers())

const patient = { pingInterval: 60_000, unused: 60_000, request: 60_000, answer: 60_000 }

async function serve(times: Partial<typeof patient>): Promise<{ server: Http2SecureServer; port: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-sessions-'))
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...newKey, '-subj', '/CN=test', '-out', cert], { stdio: 'ignore' })
  const server = createSecureServer({ ...http2Limits, cert: readFileSync(cert), key: readFileSync(key) })
  rmSync(folder, { recursive: true })
  guardSessions(server, { ...patient, ...times })
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    stream.write('{}\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

function open(port: number): ClientHttp2Session {
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  session.on('error', () => {})
  cleanups.push(() => session.destroy())
  return session
}

test('a session without a request is closed, one with a watch is not', async () => {
  vi.useFakeTimers(clock)
  const { server, port } = await serve({})
  let sessions = 0
  server.on('session', () => (sessions += 1))
  const [idle, watching] = [open(port), open(port)]
  const closed = once(idle, 'close')
  await once(watching.request({ ':path': '/' }).resume(), 'response')
  await expect.poll(() => sessions).toBe(2)
  vi.advanceTimersByTime(patient.unused + lastWords)
  await closed
  expect(watching.closed).toBe(false)
})

/** A client that begins a session, sends the frames given in hexadecimal, and never closes; resolves when the session has begun. */
async function openSilent(
  server: Http2SecureServer,
  port: number,
  ...frames: string[]
): Promise<{ closed: Promise<void> }> {
  const begun = once(server, 'session')
  const closed = new Promise<void>((resolve) =>
    server.once('secureConnection', (socket) => socket.once('close', resolve)),
  )
  const usual = { port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] }
  const silent = openTls({ ...usual, allowHalfOpen: true } as ConnectionOptions)
  cleanups.push(() => silent.destroy())
  silent.on('error', () => {})
  silent.resume()
  const [preface, emptySettings] = ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '000000040000000000']
  silent.write(Buffer.concat([Buffer.from(preface), Buffer.from([emptySettings, ...frames].join(''), 'hex')]))
  await begun
  return { closed }
}

test('a client that neither asks nor closes is let go of, socket and all, and takes nothing else along', async () => {
  vi.useFakeTimers(clock)
  const { server, port } = await serve({ pingInterval: patient.unused / 2 + 400 }) // the second within its last words
  const { closed } = await openSilent(server, port)
  vi.advanceTimersByTime(2 * patient.unused)
  await closed
  await once(open(port).request({ ':path': '/' }).resume(), 'response')
})

test('a client that ends its session and never closes is let go of, socket and all', async () => {
  const { server, port } = await serve({})
  const goaway = '000008070000000000' + '0000000000000000'
  const { closed } = await openSilent(server, port, goaway)
  await closed
})

test('a request whose body does not come is cut, and the others of its session go on', async () => {
  const { port } = await serve({ request: 100 })
  const session = open(port)
  const watch = session.request({ ':path': '/' }).resume()
  const slow = session.request({ ':path': '/', ':method': 'POST' }).resume()
  slow.write('{')
  await once(slow, 'close')
  expect(slow.rstCode).toBe(constants.NGHTTP2_CANCEL)
  expect(watch.closed).toBe(false)
})

test('an answer that is not taken is cut; a watch that has nothing to say goes on', async () => {
  const { port } = await serve({ answer: 200 })
  const session = connect(`https://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    settings: { initialWindowSize: 0 },
  })
  session.on('error', () => {})
  cleanups.push(() => session.destroy())
  const watch = open(port).request({ ':path': '/' }).resume()
  await once(watch, 'response')
  const untaken = session.request({ ':path': '/' })
  await once(untaken, 'close')
  expect(untaken.rstCode).toBe(constants.NGHTTP2_CANCEL)
  await delay(500)
  expect(watch.closed).toBe(false)
})

test('a client that has gone without a word is noticed by a ping, and its watches end; a live one stays', async () => {
  const { server, port } = await serve({ pingInterval: 100 })
  const wire = await openSilentWire(port)
  cleanups.push(() => wire.close())
  const live = open(port)
  await once(live.request({ ':path': '/' }).resume(), 'response')
  const opened = once(server, 'stream')
  const lost = open(wire.port)
  await once(lost.request({ ':path': '/' }).resume(), 'response')
  const [stream] = (await opened) as [{ once(event: 'close', listener: () => void): void }]
  const ended = new Promise<void>((resolve) => stream.once('close', resolve))
  wire.cut()
  await ended
  expect(live.closed).toBe(false)
})
