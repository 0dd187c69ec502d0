import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { connect as connectPlainly, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { connect } from 'node:tls'
import { Registry } from '@prometheus-io/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificate } from '../../test/support/control-files.ts'
import { InvalidInput, NotFound } from '../base/index.ts'
import type { PathQuestion } from '../network/path/index.ts'
import { createLiveApi } from './live-api.ts'

const folder = mkdtempSync(join(tmpdir(), 'carbonado-live-'))
const tls = { certificateFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') }
const asked: PathQuestion[] = []
let authenticated = 0
let api: ReturnType<typeof createLiveApi>
/** A snapshot that does not end. */
const blocks = new Readable({ read: () => void blocks.push(Buffer.alloc(65_536)) })

beforeAll(async () => {
  await makeCertificate(tls.certificateFile, tls.keyFile)
  const uplink = { interface: 'eth0', carrier: true, rate: 1e9, promised: 0, sent: 0, received: 0 }
  api = createLiveApi(
    { listen: { host: '127.0.0.1', port: 0 }, tls },
    (authorization, visitorToken) => {
      authenticated += 1
      if (authorization === 'Bearer known') return { user: 'control', role: 'viewer' }
      if (authorization === 'Bearer reading') return { user: 'prometheus', role: 'metrics-reader' }
      return visitorToken === 'visiting' ? { user: 'visitor', role: 'visitor' } : undefined
    },
    {
      node: () => ({ endpoints: [], uplink, held: [] }),
      check: () => Promise.resolve([]),
      acceptLimits: () => Promise.resolve({}),
      metrics: new Registry(),
      volumes: () => ({ volumes: [], drives: [] }),
      snapshotBlocks: (uid) => {
        if (uid !== 'endless') return Promise.reject(new NotFound('this node has no snapshots'))
        return Promise.resolve(blocks)
      },
      path(question) {
        asked.push(question)
        return Promise.reject(new NotFound('endpoint u1 is not attached on this node', { remedy: 'Look elsewhere' }))
      },
      probe(question) {
        asked.push(question)
        if (question.to === 'nowhere') return Promise.reject(new InvalidInput('"nowhere" is not an IP address'))
        return Promise.resolve({ dropped: {}, echoAfter: 1 })
      },
    },
    { patience: 300 },
  )
  await api.start()
})
afterAll(async () => {
  await api.stop()
  rmSync(folder, { recursive: true })
})

function ask(
  method: string,
  path: string,
  body?: string,
  token = 'known',
  more: Record<string, string> = {},
): Promise<{ code: number; text: string }> {
  const url = new URL(`https://${api.address()}`)
  const options = { host: url.hostname, port: url.port, method, path, rejectUnauthorized: false }
  return new Promise((resolve, reject) => {
    const question = request({ ...options, headers: { authorization: `Bearer ${token}`, ...more } }, (response) => {
      let text = ''
      response.on('data', (part: Buffer) => (text += part.toString()))
      response.on('end', () => resolve({ code: response.statusCode!, text }))
    })
    question.on('error', reject)
    question.end(body)
  })
}

test('a way is asked for by its ends, and the answer of what is not there is one', async () => {
  expect(await ask('GET', '/v1/path?endpoint=u1&to=10.0.0.1&peer=n2')).toMatchObject({ code: 404 })
  expect(asked.at(-1)).toEqual({ endpointId: 'u1', to: '10.0.0.1', peer: 'n2' })
  const { text } = await ask('GET', '/v1/path?endpoint=u1')
  expect(JSON.parse(text)).toMatchObject({
    kind: 'Status',
    message: 'endpoint u1 is not attached on this node. Look elsewhere',
  })
  expect(asked.at(-1)).toEqual({ endpointId: 'u1' })
})

test('a probe is a POST', async () => {
  expect(await ask('GET', '/v1/probe')).toMatchObject({ code: 405 })
  expect(await ask('POST', '/v1/path?endpoint=u1')).toMatchObject({ code: 405 })
  const answer = await ask('POST', '/v1/probe', '{"endpoint": "u1", "to": "10.0.0.1"}')
  expect(answer).toEqual({ code: 200, text: '{"dropped":{},"echoAfter":1}' })
  expect(await ask('POST', '/v1/probe', '{"endpoint": "u1", "to": "nowhere"}')).toMatchObject({ code: 400 })
})

test.each([
  ['GET', '/v1/path', undefined],
  ['GET', '/v1/path?endpoint=', undefined],
  ['GET', '/v1/path?%00=%zz', undefined],
  ['POST', '/v1/probe', undefined],
  ['POST', '/v1/probe', ''],
  ['POST', '/v1/probe', 'null'],
  ['POST', '/v1/probe', '[]'],
  ['POST', '/v1/probe', '{'],
  ['POST', '/v1/probe', '{"endpoint": "u1"}'],
  ['POST', '/v1/probe', '{"endpoint": 7, "to": "10.0.0.1"}'],
  ['POST', '/v1/probe', '{"endpoint": ["u1"], "to": {"a": 1}}'],
  ['POST', '/v1/probe', `{"endpoint": "${'x'.repeat(5000)}", "to": "10.0.0.1"}`],
])('%s %s with %s is refused', async (method, path, body) => {
  const before = asked.length
  expect(await ask(method, path, body)).toMatchObject({ code: 400 })
  expect(asked).toHaveLength(before)
})

test('nobody looks or probes without a token', async () => {
  const before = asked.length
  expect(await ask('GET', '/v1/path?endpoint=u1', undefined, 'other')).toMatchObject({ code: 401 })
  expect(await ask('POST', '/v1/probe', '{"endpoint": "u1", "to": "10.0.0.1"}', 'other')).toMatchObject({ code: 401 })
  expect(asked).toHaveLength(before)
})

test('a visitor sees what is known about endpoints, not what users have stored, and limits nobody', async () => {
  const visiting = { 'x-carbonado-token': 'visiting' }
  expect(await ask('GET', '/v1/endpoints', undefined, 'other', visiting)).toMatchObject({ code: 200 })
  expect(await ask('GET', '/metrics', undefined, 'other', visiting)).toMatchObject({ code: 200 })
  const blocks = await ask('GET', '/v1/snapshot-blocks?uid=u&offset=0&length=1', undefined, 'other', visiting)
  expect(blocks).toMatchObject({ code: 403 })
  expect(await ask('PUT', '/v1/receive-limits', '{}', 'other', visiting)).toMatchObject({ code: 403 })
  expect(await ask('GET', '/v1/endpoints', undefined, 'other', { 'x-carbonado-token': 'x' })).toMatchObject({
    code: 401,
  })
})

test('a reader of metrics reads those, and nothing else', async () => {
  expect(await ask('GET', '/metrics', undefined, 'reading')).toMatchObject({ code: 200 })
  for (const path of ['/v1/endpoints', '/v1/volumes', '/v1/path?endpoint=u1', '/v1/snapshot-blocks?uid=u']) {
    expect(await ask('GET', path, undefined, 'reading')).toMatchObject({ code: 403 })
  }
  expect(await ask('PUT', '/v1/receive-limits', '{}', 'reading')).toMatchObject({ code: 403 })
})

test('what is not there, or is for everybody, is answered without a look at tokens', async () => {
  const before = authenticated
  expect(await ask('GET', '/healthz', undefined, 'other')).toEqual({ code: 200, text: 'ok\n' })
  expect(await ask('GET', '/v1/nothing', undefined, 'other')).toMatchObject({ code: 404 })
  expect(authenticated).toBe(before)
})

test('a snapshot is let go of when its reader takes nothing of it any more', async () => {
  const url = new URL(`https://${api.address()}`)
  const reader = connect({ host: url.hostname, port: Number(url.port), rejectUnauthorized: false })
  reader.on('error', () => {})
  reader.write('GET /v1/snapshot-blocks?uid=endless HTTP/1.1\r\nhost: agent\r\nauthorization: Bearer known\r\n\r\n')
  await new Promise((resolve) => reader.once('data', resolve))
  reader.pause()
  await expect.poll(() => blocks.destroyed, { timeout: 10_000 }).toBe(true)
  reader.destroy()
})

test('connections have an end, and those beyond it leave the others alone', { timeout: 60_000 }, async () => {
  const url = new URL(`https://${api.address()}`)
  const open = new Set<Socket>()
  const openOne = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connectPlainly(Number(url.port), url.hostname, () => resolve(socket))
      open.add(socket)
      socket.on('error', () => {}).on('close', () => open.delete(socket))
    })
  const kept = connect({ host: url.hostname, port: Number(url.port), rejectUnauthorized: false })
  await new Promise((resolve) => kept.once('secureConnect', resolve))
  let opened = 0
  for (; opened < 3000; opened += 100) await Promise.all(Array.from({ length: 100 }, openOne))
  await expect.poll(() => open.size).toBeLessThanOrEqual(2000)
  kept.write('GET /healthz HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n')
  const [answer] = (await once(kept, 'data')) as [Buffer]
  expect(answer.toString()).toContain('200 OK')
  // whoever says nothing is let go of
  await expect.poll(() => open.size, { timeout: 20_000 }).toBe(0)
  expect(await ask('GET', '/healthz')).toMatchObject({ code: 200 })
})
