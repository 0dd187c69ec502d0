import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { text as readBody } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from 'vitest'
import { Endpoint, PerfTier } from '../../api/index.ts'
import { readJsonLines } from './json-lines.ts'
import { RestStore } from './rest-store.ts'

const cleanups: (() => Promise<unknown> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(handle: RequestListener): Promise<string> {
  const server: Server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function client(server: string, options: object = {}): RestStore {
  const store = new RestStore({ server, timeout: 10_000, ...options })
  cleanups.push(() => store.close())
  return store
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'succeeded',
    (error: { code?: string }) => error.code,
  )

async function drain(store: RestStore): Promise<void> {
  for await (const _event of store.watch(PerfTier, { resourceVersion: '1' }));
}

describe('Unavailable is what becomes of', () => {
  test('nobody listening, by TCP and by unix socket', async () => {
    expect(await failure(client('http://127.0.0.1:1').list(PerfTier))).toBe('Unavailable')
    expect(await failure(client('unix:///nonexistent/control.sock').list(PerfTier))).toBe('Unavailable')
  })

  test('no answer, no end of an answer, and a watch that does not open', async () => {
    const silent = await serve(() => {})
    expect(await failure(client(silent, { timeout: 300 }).get(PerfTier, { name: 'a' }))).toBe('Unavailable')
    expect(await failure(drain(client(silent, { timeout: 300 })))).toBe('Unavailable')
    const halting = await serve((_request, response) => void response.writeHead(200).write('{"items": ['))
    expect(await failure(client(halting, { timeout: 300 }).list(PerfTier))).toBe('Unavailable')
  })

  test('an answer that is not JSON', async () => {
    const server = await serve((_request, response) => void response.end('<html>'))
    expect(await failure(client(server).list(PerfTier))).toBe('Unavailable')
    const failing = await serve((_request, response) => void response.writeHead(502).end('<html>bad gateway'))
    expect(await failure(client(failing).list(PerfTier))).toBe('Unavailable')
  })

  test('a watch that is cut, falls silent or is not JSON', async () => {
    const cut = await serve((_request, response) => {
      response.writeHead(200).write('{"type":"ADDED","object":{"met')
      setTimeout(() => response.destroy(), 20)
    })
    expect(await failure(drain(client(cut)))).toBe('Unavailable')
    const silent = await serve((_request, response) => void response.writeHead(200).flushHeaders())
    expect(await failure(drain(client(silent, { watchIdleTimeout: 200 })))).toBe('Unavailable')
    const text = await serve((_request, response) => void response.end('hello\n'))
    expect(await failure(drain(client(text)))).toBe('Unavailable')
  })

  test('something that does not speak HTTP', async () => {
    const server = createTcpServer((socket) => void socket.on('error', () => {}).end('SSH-2.0-x\r\n'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect(await failure(client(url).list(PerfTier))).toBe('Unavailable')
  })
})

test('an ERROR event is thrown as what it says', async () => {
  const object = { kind: 'Status', code: 410, message: 'too old resource version', reason: 'Expired' }
  const server = await serve(
    (_request, response) => void response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`),
  )
  expect(await failure(drain(client(server)))).toBe('Expired')
})

test('a read is tried again on a new connection when the kept one was closed, a write is not', async () => {
  const seen: string[] = []
  const sockets = new WeakSet<object>()
  const server = await serve((request, response) => {
    seen.push(request.method!)
    if (sockets.has(request.socket)) return void request.socket.destroy()
    sockets.add(request.socket)
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"metadata":{"name":"a"}}')
  })
  const store = client(server)
  const idle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30)) // so that the connection is taken again
  await store.get(PerfTier, { name: 'a' })
  await idle()
  expect((await store.get(PerfTier, { name: 'a' })).metadata.name).toBe('a')
  await idle()
  expect(await failure(store.create(PerfTier, { metadata: { name: 'a' }, spec: {} }))).toBe('Unavailable')
  expect(seen).toEqual(['GET', 'GET', 'GET', 'POST'])
})

test('a read that is not answered in time is not sent again', async () => {
  let seen = 0
  const server = await serve((_request, response) => {
    seen += 1
    response.writeHead(200).write('{')
  })
  expect(await failure(client(server).get(PerfTier, { name: 'a' }))).toBe('Unavailable')
  expect(seen).toBe(1)
})

test('requests one after the other share a connection, deletions with preconditions too', async () => {
  const sockets = new Set<object>()
  const bodies: string[] = []
  const server = await serve((request, response) => {
    sockets.add(request.socket)
    void readBody(request).then((body) => {
      bodies.push(body)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"metadata":{"name":"a"}}')
    })
  })
  const store = client(server)
  await store.create(PerfTier, { metadata: { name: 'a' }, spec: { bandwidthFloor: 0, description: 'ä€' } } as never)
  await store.delete(PerfTier, { name: 'a' }, { uid: 'u' })
  await store.get(PerfTier, { name: 'a' })
  expect(JSON.parse(bodies[0]!)).toMatchObject({ spec: { description: 'ä€' } })
  expect(JSON.parse(bodies[1]!)).toMatchObject({ kind: 'DeleteOptions', preconditions: { uid: 'u' } })
  expect(sockets.size).toBe(1)
})

test('events of a watch arrive while the answer goes on, and giving up closes the connection', async () => {
  const closed = Promise.withResolvers<void>()
  const server = await serve((request, response) => {
    request.socket.once('close', () => closed.resolve())
    response.writeHead(200).write('{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n')
  })
  for await (const event of client(server).watch(PerfTier, { resourceVersion: '1' })) {
    expect(event).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'a' } } })
    break
  }
  await closed.promise
})

test('names that would be another path are refused before anything is sent', async () => {
  const store = client('http://127.0.0.1:1')
  for (const name of ['', '.', '..', 'a/b', '%2e%2e', undefined as never]) {
    expect(await failure(store.get(PerfTier, { name }))).toBe('InvalidInput')
    expect(await failure(store.get(Endpoint, { name: 'a', namespace: name }))).toBe('InvalidInput')
  }
})

test('a server address or file that cannot be right is refused at once', () => {
  for (const server of ['ftp://a', 'unix://relative', 'a:1', 'https://a/path', '']) {
    expect(() => new RestStore({ server })).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
  }
  const missing = { server: 'https://a', caFile: '/nonexistent/ca.pem' }
  expect(() => new RestStore(missing)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
})

test('lines are put together however the bytes were cut', async () => {
  const text = '{"a":"é"}\n\n{"b":2}\n{"c":3}'
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const byte of Buffer.from(text)) yield Uint8Array.of(byte)
  }
  const documents: unknown[] = []
  for await (const document of readJsonLines(bytes())) documents.push(document)
  expect(documents).toEqual([{ a: 'é' }, { b: 2 }, { c: 3 }])
})
