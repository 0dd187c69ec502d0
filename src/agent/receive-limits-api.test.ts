import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseReceiveLimits, spokenBy } from '../network/receive-guarantee/index.ts'
import { makeCertificate } from '../../test/support/control-files.ts'
import { loadBearerTokens } from './bearer-tokens.ts'
import { createLiveApi } from './live-api.ts'
import { PeerClient } from './peer-client.ts'

const tokens = [
  { token: 'token-of-agents', user: 'agents', role: 'agent' },
  { sha256: createHash('sha256').update('token-of-n2').digest('hex'), user: 'n2', role: 'agent', nodeName: 'n2' },
  { token: 'token-of-control', user: 'control', role: 'viewer' },
]
const limits = { receivingNode: 'n1', sequence: 1, lease: 1000, limits: [{ macAddress: '02:00:00:00:00:01', vlan: 1, rate: 1e6 }] } // prettier-ignore
let folder: string
let api: ReturnType<typeof createLiveApi>
let accepted: unknown[]
const file = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-live-api-'))
  await makeCertificate(file('tls.crt'), file('tls.key'))
  writeFileSync(file('tokens.json'), JSON.stringify(tokens))
  writeFileSync(file('peer-token'), 'token-of-agents\n')
  const tls = { certificateFile: file('tls.crt'), keyFile: file('tls.key') }
  const nobody = (): never => {
    throw new Error('not asked for here')
  }
  accepted = []
  api = createLiveApi({ listen: { host: '127.0.0.1', port: 0 }, tls }, loadBearerTokens(file('tokens.json')), {
    node: nobody,
    check: nobody,
    path: nobody,
    probe: nobody,
    snapshotBlocks: nobody,
    volumes: nobody,
    metrics: { contentType: 'text/plain', metrics: nobody },
    async acceptLimits(message, speaker) {
      accepted.push(spokenBy(parseReceiveLimits(message), speaker))
      return { uses: [] }
    },
  })
  await api.start()
})

afterAll(async () => {
  await api.stop()
  rmSync(folder, { recursive: true })
})

function put(body: string | Buffer, token = 'token-of-agents', method = 'PUT'): Promise<number> {
  const [hostname, port] = api.address().split(':')
  return new Promise((resolve, reject) => {
    const options = { hostname, port, path: '/v1/receive-limits', method, ca: readFileSync(file('tls.crt')) }
    const sent = request({ ...options, headers: { authorization: `Bearer ${token}` } }, (answer) =>
      void text(answer).then(() => resolve(answer.statusCode!), reject),
    ) // prettier-ignore
    sent.on('error', reject)
    sent.end(body)
  })
}

test('takes limits from an agent, as agents send them', async () => {
  const peers = new PeerClient({ caFile: file('tls.crt'), tokenFile: file('peer-token') })
  expect(await peers.put(api.address(), '/v1/receive-limits', limits)).toEqual({ uses: [] })
  expect(accepted.pop()).toEqual(limits)
  await expect(peers.put('127.0.0.1:1', '/v1/receive-limits', limits)).rejects.toMatchObject({ code: 'Unavailable' })
  peers.close()
})

test('takes them from nobody else', async () => {
  expect(await put(JSON.stringify(limits), 'token-of-control')).toBe(403)
  expect(await put(JSON.stringify(limits), 'a-token-of-nobody')).toBe(401)
  expect(await put(JSON.stringify(limits), 'token-of-agents', 'POST')).toBe(405)
  expect(accepted).toEqual([])
})

test('takes them from an agent with a token of its own for its own node only', async () => {
  expect(await put(JSON.stringify(limits), 'token-of-n2')).toBe(403)
  expect(accepted).toEqual([])
  const own = { ...limits, receivingNode: 'n2' }
  expect(await put(JSON.stringify(own), 'token-of-n2')).toBe(200)
  expect(accepted.pop()).toEqual(own)
})

test('refuses what is malformed, and goes on', async () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.json(),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.record({ receivingNode: fc.string(), sequence: fc.double(), lease: fc.integer(), limits: fc.array(fc.object(), { minLength: 1 }) }).map((value) => JSON.stringify(value)),
    fc.constant('['.repeat(100_000)),
    fc.constant('{"__proto__":{"limits":[]},"limits":[]}'),
  ) // prettier-ignore
  await fc.assert(
    fc.asyncProperty(hostile, async (body) => {
      expect(await put(body)).toBe(400)
    }),
    { numRuns: 100 },
  )
  expect(await put(Buffer.alloc(600 * 1024, 32))).toBe(400)
  expect(accepted).toEqual([])
  expect(await put(JSON.stringify(limits))).toBe(200)
})
