import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { PerfTier } from '../../api/index.ts'
import { earlyAnswerHeader, encodeEarlyAnswer, entityTagOf } from './early-answer.ts'
import { HttpConnections } from './http-connections.ts'
import { RestStore } from './rest-store.ts'
import { openSilentWire } from './silent-wire.ts'

let folder: string
let tls: { cert: string; key: string }

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-http2-'))
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const subject = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...newKey, ...subject, '-out', cert], { stdio: 'ignore' })
  tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const cleanups: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Served {
  url: string
  port: number
  sessions: ServerHttp2Session[]
  sockets: TLSSocket[]
}

async function listening(server: TlsServer): Promise<Pick<Served, 'url' | 'port' | 'sockets'>> {
  const sockets: TLSSocket[] = []
  server.on('secureConnection', (socket: TLSSocket) => sockets.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `https://127.0.0.1:${port}`, port, sockets }
}

/** A server that is asked by HTTP/2. */
async function serve(handle: (stream: ServerHttp2Stream, path: string) => void, settings = {}): Promise<Served> {
  const server: Http2SecureServer = createSecureServer({ ...tls, settings })
  const sessions: ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session.on('error', () => {})))
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    handle(stream, headers[':path']!)
  })
  return { ...(await listening(server)), sessions }
}

function client(server: { url: string }, options: object = {}): RestStore {
  const store = new RestStore({ server: server.url, ca: tls.cert, timeout: 20_000, ...options })
  cleanups.push(() => store.close())
  return store
}

const answer = (stream: ServerHttp2Stream, name = 'a'): void => {
  stream.respond({ ':status': 200, 'content-type': 'application/json' })
  stream.end(JSON.stringify({ metadata: { name } }))
}
const event = (name: string): string => `${JSON.stringify({ type: 'ADDED', object: { metadata: { name } } })}\n`

async function firstOf(store: RestStore, signal?: AbortSignal): Promise<string | undefined> {
  for await (const each of store.watch(PerfTier, { resourceVersion: '1', signal })) {
    return each.type === 'ADDED' ? each.object.metadata.name : undefined
  }
  return undefined
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'succeeded',
    (error: { code?: string }) => error.code,
  )

test('a server is told that a request is about to come, where there is a connection', async () => {
  const server = await serve((stream) => answer(stream))
  const store = client(server)
  store.wake()
  await store.get(PerfTier, { name: 'a' })
  const told = once(server.sessions[0]!, 'ping')
  store.wake()
  await told
  expect(server.sessions).toHaveLength(1)
})

test('the head of an answer is enough where it bears the tag of what was told early, and nowhere else', async () => {
  const tier = (version: string): PerfTier => ({ metadata: { name: 'a', resourceVersion: version }, spec: {} })
  let answered = { status: 201, version: '7', body: '' }
  const server = await serve((stream) => {
    stream.additionalHeaders({ ':status': 103, [earlyAnswerHeader]: encodeEarlyAnswer(tier('7')) })
    stream.respond({ ':status': answered.status, etag: entityTagOf(tier(answered.version)) })
    if (answered.body) stream.end(answered.body)
  })
  const create = async (): Promise<PerfTier> =>
    client(server).create(PerfTier, { metadata: { name: 'a' }, spec: {} }, { onEarlyAnswer: () => {} })
  expect(await create()).toEqual(tier('7'))
  answered = { status: 201, version: '8', body: JSON.stringify(tier('8')) }
  expect(await create()).toEqual(tier('8'))
  answered = { status: 503, version: '7', body: JSON.stringify({ kind: 'Status', code: 503, message: 'disk' }) }
  await expect(create()).rejects.toMatchObject({ code: 'Unavailable' })
})

test('watches and requests share one connection', async () => {
  const server = await serve((stream, path) => {
    if (!path.includes('watch')) return answer(stream)
    stream.respond({ ':status': 200 })
    stream.write(event('seen'))
  })
  const store = client(server)
  const iterators = Array.from({ length: 6 }, () => store.watch(PerfTier, { resourceVersion: '1' }))
  for (const each of iterators) expect((await each.next()).value).toMatchObject({ type: 'ADDED' })
  await Promise.all(Array.from({ length: 20 }, () => store.get(PerfTier, { name: 'a' })))
  await store.create(PerfTier, { metadata: { name: 'b' }, spec: {} })
  expect(server.sockets).toHaveLength(1)
  for (const each of iterators) await each.return()
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('a')
})

test('a server of HTTP/1.1 alone is spoken to as before, and asked again what it speaks after a failure', async () => {
  const old = createHttpsServer(tls, (_request, response) => void response.end('{"metadata":{"name":"old"}}'))
  const { port, url, sockets } = await listening(old)
  const store = client({ url })
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('old')
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => old.close(resolve))
  expect(await failure(store.get(PerfTier, { name: 'a' }))).toBe('Unavailable')
  const fresh = createSecureServer(tls)
  fresh.on('stream', (stream) => answer(stream, 'new'))
  fresh.listen(port, '127.0.0.1')
  await once(fresh, 'listening')
  cleanups.push(() => void fresh.close())
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('new')
  await store.close()
})

test('after GOAWAY the watch goes on, and the next request opens a new connection', async () => {
  const watches: ServerHttp2Stream[] = []
  const server = await serve((stream, path) => {
    if (!path.includes('watch')) return answer(stream)
    stream.respond({ ':status': 200 })
    stream.write(event('before'))
    watches.push(stream)
  })
  const store = client(server)
  const watch = store.watch(PerfTier, { resourceVersion: '1' })
  expect((await watch.next()).value).toMatchObject({ object: { metadata: { name: 'before' } } })
  server.sessions[0]!.close()
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('a')
  await expect.poll(() => server.sockets.length).toBe(2)
  watches[0]!.write(event('after'))
  expect((await watch.next()).value).toMatchObject({ object: { metadata: { name: 'after' } } })
  await watch.return()
})

test('what the server surely did not look at is sent again, writes too', async () => {
  let seen = 0
  const server = await serve((stream) => {
    seen += 1
    if (seen === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM)
    else answer(stream)
  })
  const made = await client(server).create(PerfTier, { metadata: { name: 'a' }, spec: {} })
  expect(made.metadata.name).toBe('a')
  expect(seen).toBe(2)
})

test('a server that refuses for ever, or resets, or goes, makes a write Unavailable and is not asked for ever', async () => {
  for (const code of [constants.NGHTTP2_REFUSED_STREAM, constants.NGHTTP2_INTERNAL_ERROR]) {
    let seen = 0
    const server = await serve((stream) => {
      seen += 1
      stream.close(code)
    })
    expect(await failure(client(server).create(PerfTier, { metadata: { name: 'a' }, spec: {} }))).toBe('Unavailable')
    expect(seen).toBe(code === constants.NGHTTP2_REFUSED_STREAM ? 3 : 1)
  }
  let seen = 0
  const going = await serve((stream) => {
    seen += 1
    stream.session!.socket.destroy()
  })
  expect(await failure(client(going).create(PerfTier, { metadata: { name: 'a' }, spec: {} }))).toBe('Unavailable')
  expect(seen).toBe(1)
})

test('a read is repeated once when the connection went away under it', async () => {
  let seen = 0
  const server = await serve((stream) => {
    seen += 1
    if (seen === 1) stream.session!.socket.destroy()
    else answer(stream)
  })
  expect((await client(server).get(PerfTier, { name: 'a' })).metadata.name).toBe('a')
  expect(seen).toBe(2)
})

test('where the server allows few requests on a connection, there are more connections', async () => {
  const server = await serve(
    (stream, path) => {
      if (!path.includes('watch')) return answer(stream)
      stream.respond({ ':status': 200 })
      stream.write(event('seen'))
    },
    { maxConcurrentStreams: 2 },
  )
  const store = client(server)
  await store.get(PerfTier, { name: 'a' }) // the limit is known now
  const iterators = Array.from({ length: 5 }, () => store.watch(PerfTier, { resourceVersion: '1' }))
  await Promise.all(iterators.map((each) => each.next()))
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('a')
  expect(server.sockets.length).toBe(3)
  for (const each of iterators) await each.return()
})

test.each([0, 20])(
  'a server that has gone without a word is noticed by a ping, and the watch ends (%i wakes before)',
  async (wakes) => {
    const server = await serve((stream) => {
      stream.respond({ ':status': 200 })
      stream.write(event('seen'))
    })
    const wire = await openSilentWire(server.port)
    cleanups.push(() => wire.close())
    const connections = new HttpConnections(
      { protocol: 'https:', hostname: '127.0.0.1', port: String(wire.port) },
      { ca: tls.cert },
      { pingInterval: 50, pingPatience: 100 },
    )
    cleanups.push(() => connections.destroy())
    const { signal } = new AbortController()
    const { body } = await connections.send({ method: 'GET', path: '/', headers: {}, signal, idleTimeout: 60_000 })
    const chunks = (body as Readable)[Symbol.asyncIterator]()
    await chunks.next()
    await new Promise((resolve) => setTimeout(resolve, 300)) // pings are answered
    wire.cut()
    for (let wake = 0; wake < wakes; wake += 1) connections.wake()
    await expect(chunks.next()).rejects.toThrow('ping was not answered')
  },
)

test.each([
  ['nothing', (): void => {}],
  ['something else', (socket: TLSSocket): void => void socket.write('SSH-2.0-x\r\n'.repeat(10))],
  ['a huge frame', (socket: TLSSocket): void => void socket.write(Buffer.from('ffffff0000000000000000', 'hex'))],
  ['the end', (socket: TLSSocket): void => void socket.end()],
])('a server that promises HTTP/2 and sends %s is Unavailable', async (_what, greet) => {
  const server = createTlsServer({ ...tls, ALPNProtocols: ['h2'] }, greet)
  const store = client(await listening(server), { timeout: 400 })
  expect(await failure(store.create(PerfTier, { metadata: { name: 'a' }, spec: {} }))).toBe('Unavailable')
  expect(await failure(firstOf(store))).toBe('Unavailable')
})

test('an answer and a watch that halt are given up; one that nobody reads does not stop the others', async () => {
  const server = await serve((stream, path) => {
    stream.respond({ ':status': 200 })
    if (path.includes('watch')) stream.write(event('big').repeat(50_000))
    else stream.write('{')
  })
  expect(await failure(client(server, { timeout: 300 }).get(PerfTier, { name: 'a' }))).toBe('Unavailable')
  const silent = await serve((stream) => stream.respond({ ':status': 200 }))
  expect(await failure(firstOf(client(silent, { watchIdleTimeout: 200 })))).toBe('Unavailable')
  const store = client(server) // watches that nobody reads stay open, and the next must come all the same
  const unread = Array.from({ length: 4 }, () => store.watch(PerfTier, { resourceVersion: '1' }))
  for (const each of unread) await each.next()
  expect(await firstOf(store)).toBe('big')
  for (const each of unread) await each.return()
})

test('a body that is broken off is not taken for a whole one', async () => {
  const server = await serve((stream) => {
    stream.respond({ ':status': 200 })
    stream.write('{}', () => setTimeout(() => stream.session!.socket.destroy(), 20))
  })
  expect(await failure(client(server).create(PerfTier, { metadata: { name: 'a' }, spec: {} }))).toBe('Unavailable')
})

test('whoever gives up a watch ends it at the server', async () => {
  const closed = Promise.withResolvers<number>()
  const server = await serve((stream) => {
    stream.once('close', () => closed.resolve(stream.rstCode))
    stream.respond({ ':status': 200 })
    stream.write(event('seen'))
  })
  expect(await firstOf(client(server))).toBe('seen')
  expect(await closed.promise).toBe(constants.NGHTTP2_CANCEL)
})

test('another certificate than the one that is trusted is refused', async () => {
  const server = await serve((stream) => answer(stream))
  const store = new RestStore({ server: server.url, timeout: 20_000 })
  cleanups.push(() => store.close())
  await expect(store.get(PerfTier, { name: 'a' })).rejects.toThrow(/certificate/)
})
