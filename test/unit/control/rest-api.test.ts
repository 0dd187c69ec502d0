import { connect } from 'node:net'
import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { Network, PerfTier } from '../../../src/api/index.ts'
import { silentLogger } from '../../../src/base/index.ts'
import { startControl, type Control } from '../../../src/control/control.ts'
import { RestStore, type Status } from '../../../src/store/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

interface Answer {
  code: number
  headers: Record<string, unknown>
  text: string
  json: Status & Record<string, unknown>
}

interface Question {
  body?: string | object
  type?: string | null
  token?: string | null
  headers?: Record<string, string>
}

let files: ControlFiles
let control: Control
const root = '/apis/carbonado.io/v1alpha1'
const tiers = `${root}/perftiers`

beforeAll(async () => {
  files = await makeControlFiles()
  control = await startControl(files.config, { logger: silentLogger(), features: [] })
})

afterAll(async () => {
  await control.stop()
  files[Symbol.dispose]()
})

/** Sends exactly this path, as no client library would. */
function ask(method: string, path: string, question: Question = {}): Promise<Answer> {
  const { body, type = 'application/json', token = testTokens.admin, headers = {} } = question
  const text = typeof body === 'object' ? JSON.stringify(body) : body
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        socketPath: `${files.folder}/control.sock`,
        method,
        path,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(text === undefined || type === null ? {} : { 'content-type': type }),
          // Node does not frame the body of a DELETE by itself
          ...(text === undefined || 'transfer-encoding' in headers
            ? {}
            : { 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('end', () => {
          const all = Buffer.concat(parts).toString()
          const json = all.startsWith('{') ? (JSON.parse(all) as Answer['json']) : ({} as Answer['json'])
          resolve({ code: response.statusCode!, headers: response.headers, text: all, json })
        })
      },
    )
    request.on('error', reject)
    request.end(text)
  })
}

const tier = (name: string, spec: object = {}): object => ({ metadata: { name }, spec })

describe('who asks', () => {
  test.each([
    ['no token', null],
    ['an unknown token', 'unknown-token-of-nobody'],
    ['part of a token', testTokens.admin.slice(0, -1)],
  ])('%s is 401 everywhere but for health', async (_what, token) => {
    for (const path of [tiers, '/apis', '/metrics', '/nothing-here', `${root}/nodes/n/proxy/v1/endpoints`]) {
      const answer = await ask('GET', path, { token })
      expect(answer.code).toBe(401)
      expect(answer.headers['www-authenticate']).toBe('Bearer')
      expect(answer.json).toMatchObject({ kind: 'Status', reason: 'Unauthorized' })
    }
    expect((await ask('GET', '/healthz', { token })).code).toBe(200)
    expect((await ask('GET', '/readyz', { token })).text).toBe('ok')
  })

  test('a body is not read for somebody who may not write', async () => {
    const body = 'x'.repeat(100)
    expect((await ask('POST', tiers, { body, token: testTokens.viewer })).code).toBe(403)
    expect((await ask('PATCH', `${tiers}/a`, { body, token: testTokens.viewer })).code).toBe(403)
    expect((await ask('PUT', `${tiers}/a`, { body, token: testTokens.agent })).code).toBe(403)
    expect((await ask('DELETE', `${root}/nodes/a`, { token: testTokens.operator })).code).toBe(403)
    expect((await ask('DELETE', `${root}/nodes/a`, { token: testTokens.admin })).code).toBe(404)
  })
})

describe('what is asked', () => {
  test.each([
    ['POST', `${tiers}/a`],
    ['PUT', tiers],
    ['PATCH', tiers],
    ['DELETE', tiers],
    ['HEAD', tiers],
    ['OPTIONS', tiers],
    ['POST', `${root}/endpoints`],
    ['DELETE', `${root}/networks/a/status`],
    ['POST', '/healthz'],
    ['POST', `${root}/nodes/n/proxy/v1/endpoints`],
    ['PROPFIND', tiers],
    ['TRACE', tiers],
  ])('%s %s is 405', async (method, path) => {
    const answer = await ask(method, path, method === 'POST' ? { body: '{}', type: 'text/plain' } : {})
    expect(answer.code).toBe(405)
  })

  test.each([
    '/',
    '/apis/other.io/v1/things',
    `${root}/things`,
    `${root}/perftiers/a/status`,
    `${root}/perftiers/a/b/c`,
    `${root}//perftiers`,
    `${root}/namespaces/x/perftiers`,
    `${tiers}/..%2f..%2fetc%2fpasswd`,
    `${tiers}/%2e%2e`,
    `${tiers}/__proto__`,
    `${tiers}/constructor`,
    `${tiers}/`,
    `${tiers}/missing%00`,
    `${tiers}/../nodes`,
  ])('GET %s is 404', async (path) => {
    expect((await ask('GET', path)).code).toBe(404)
  })

  test.each([`${tiers}/%zz`, `${tiers}/%ff%fe`])('GET %s is 400', async (path) => {
    const answer = await ask('GET', path)
    expect(answer.code).toBe(400)
    expect(answer.json.kind).toBe('Status')
  })

  test('an endless path, name or header is refused', async () => {
    expect((await ask('GET', `${tiers}/${'a'.repeat(2000)}`)).code).toBeGreaterThanOrEqual(400)
    expect((await ask('GET', `${tiers}/${'a'.repeat(20_000)}`)).code).toBe(431)
    expect((await ask('GET', tiers, { headers: { 'x-long': 'a'.repeat(20_000) } })).code).toBe(431)
  })

  test.each([
    'labelSelector=a%3D%3D%3Db',
    'labelSelector=a+in+(b',
    'fieldSelector=spec.storageIops%3D1',
    'fieldSelector=nonsense',
    'limit=-1',
    'limit=many',
    'limit=1&limit=2',
    'watch=perhaps',
    'watch=true&resourceVersion=abc',
    'watch=true&labelSelector=%28%28',
    'watch=true&timeoutSeconds=soon',
  ])('the query %s is 400', async (query) => {
    expect((await ask('GET', `${tiers}?${query}`)).code).toBe(400)
  })

  test('a continue token from nowhere is 410', async () => {
    expect((await ask('GET', `${tiers}?continue=abc`)).code).toBe(410)
  })
})

describe('what is sent', () => {
  test.each([
    ['POST', tiers, 'text/plain'],
    ['POST', tiers, 'application/merge-patch+json'],
    ['POST', tiers, 'application/yaml'],
    ['POST', tiers, null],
    ['PUT', `${tiers}/a`, 'application/merge-patch+json'],
    ['PATCH', `${tiers}/a`, 'application/json'],
    ['PATCH', `${tiers}/a`, 'application/json-patch+json'],
    ['PATCH', `${tiers}/a`, 'application/strategic-merge-patch+json'],
    ['PATCH', `${tiers}/a`, 'application/apply-patch+yaml'],
  ])('%s %s as %s is 415', async (method, path, type) => {
    const answer = await ask(method, path, { body: '{}', type })
    expect(answer.code).toBe(415)
    expect(answer.json.reason).toBe('UnsupportedMediaType')
  })

  test.each([
    ['nothing', ''],
    ['half of it', '{"metadata":'],
    ['text', 'hello'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a number', '7'],
    ['no metadata', '{}'],
    ['metadata that is text', '{"metadata": "a"}'],
    ['a prototype', '{"metadata": {"name": "a"}, "__proto__": {"x": 1}}'],
    ['bytes that are no text', '\u0000\u0001'],
    ['an abyss', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['an abyss of objects', `{"metadata":{"name":"a"},"spec":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`],
  ])('%s is 4xx, and control lives on', async (_what, body) => {
    for (const [method, path, type] of [
      ['POST', tiers, 'application/json'],
      ['PUT', `${tiers}/a`, 'application/json'],
      ['PATCH', `${tiers}/a`, 'application/merge-patch+json'],
    ] as const) {
      const { code, json } = await ask(method, path, { body, type })
      expect([400, 404, 422]).toContain(code)
      expect(json).toMatchObject({ kind: 'Status', status: 'Failure' })
    }
    expect((await ask('GET', '/healthz')).code).toBe(200)
  })

  test.each([
    ['an unknown field', { ...tier('a'), extra: 1 }],
    ['an unknown field within', tier('a', { speed: 1 })],
    ['a wrong type', tier('a', { storageIops: true })],
    ['a wrong kind', { ...tier('a'), kind: 'Network' }],
    ['a wrong apiVersion', { ...tier('a'), apiVersion: 'v1' }],
    ['a name with upper case', tier('A')],
    ['a name that is a path', tier('../a')],
    ['a name that is a number', { metadata: { name: 7 }, spec: {} }],
    ['labels that are numbers', { metadata: { name: 'a', labels: { a: 1 } }, spec: {} }],
  ])('%s is 422 and names the field', async (_what, body) => {
    const { code, json } = await ask('POST', tiers, { body })
    expect(code).toBe(422)
    expect(json.details?.causes?.[0]?.field).toBeTruthy()
    expect((json.details?.carbonado as { remedy?: string }).remedy).toBeTruthy()
  })

  test('a body that is too large is 413, told or streamed', async () => {
    expect((await ask('POST', tiers, { body: 'x'.repeat(2_000_000) })).code).toBe(413)
    const headers = { 'transfer-encoding': 'chunked' }
    expect((await ask('POST', tiers, { body: 'x'.repeat(2_000_000), headers })).code).toBe(413)
  })

  test('path and body must not contradict each other', async () => {
    expect((await ask('PUT', `${tiers}/a`, { body: tier('b') })).code).toBe(400)
    const endpoint = { metadata: { name: 'a', namespace: 'y' }, spec: { networkName: 'n' } }
    expect((await ask('POST', `${root}/namespaces/x/endpoints`, { body: endpoint })).code).toBe(400)
  })

  test('a dry run is refused rather than done', async () => {
    expect((await ask('POST', `${tiers}?dryRun=All`, { body: tier('dry') })).code).toBe(400)
    expect((await ask('GET', `${tiers}/dry`)).code).toBe(404)
  })

  test('delete takes a DeleteOptions or nothing', async () => {
    const path = `${tiers}/to-delete`
    await ask('POST', tiers, { body: tier('to-delete') })
    expect((await ask('DELETE', path, { body: { kind: 'PerfTier' } })).code).toBe(400)
    expect((await ask('DELETE', path, { body: { preconditions: 'x' } })).code).toBe(400)
    expect((await ask('DELETE', path, { body: { preconditions: { uid: 7 } } })).code).toBe(400)
    expect((await ask('DELETE', path, { body: { preconditions: { uid: 'other' } } })).code).toBe(409)
    expect((await ask('DELETE', path, { body: { dryRun: ['All'] } })).code).toBe(400)
    expect((await ask('DELETE', path, { body: { kind: 'DeleteOptions', apiVersion: 'v1' } })).code).toBe(200)
  })
})

test('garbage on the socket harms nobody', async () => {
  for (const garbage of [
    '\u0000'.repeat(500),
    'GET / HTTP/9.9\r\n\r\n',
    'POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n',
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(`${files.folder}/control.sock`, () => socket.end(garbage))
      socket.on('error', () => {}).on('close', () => resolve())
      socket.resume()
    })
  }
  expect((await ask('GET', '/healthz')).code).toBe(200)
})

describe('watches', () => {
  const lines = async (query: string): Promise<{ type: string; object: { code?: number } }[]> => {
    const { text } = await ask('GET', `${tiers}?watch=true&${query}`)
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { type: string; object: { code?: number } })
  }

  test('end when their time is up', async () => {
    const before = control.store.watchCount
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const ended = lines('timeoutSeconds=1')
    await expect.poll(() => control.store.watchCount).toBe(before + 1)
    vi.advanceTimersByTime(999)
    expect(control.store.watchCount).toBe(before + 1)
    vi.advanceTimersByTime(1)
    await ended
  })

  test('from a version that is not remembered end with a 410', async () => {
    expect(await lines('resourceVersion=1')).toMatchObject([{ type: 'ERROR', object: { code: 410 } }])
  })

  test('of clients that go away are forgotten', async () => {
    const before = control.store.watchCount
    const stop = new AbortController()
    const store = new RestStore({ server: `unix://${files.folder}/control.sock`, token: testTokens.viewer })
    const watching = (async () => {
      for await (const _event of store.watch(PerfTier, { signal: stop.signal }));
    })()
    await expect.poll(() => control.store.watchCount).toBe(before + 1)
    stop.abort()
    await watching
    await expect.poll(() => control.store.watchCount).toBe(before)
    await store.close()
  })
})

test('discovery names every kind', async () => {
  const { json } = await ask('GET', root)
  const resources = json.resources as { name: string }[]
  expect(resources.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['nodes', 'nodes/status', 'networks', 'endpoints', 'perftiers', 'addressclaims']),
  )
  expect((await ask('GET', '/apis')).text).toContain('events.k8s.io/v1')
})

test('metrics count requests by route, never by object', async () => {
  await ask('GET', `${tiers}/some-secret-name`)
  const { text, headers } = await ask('GET', '/metrics')
  expect(headers['content-type']).toContain('text/plain')
  expect(text).toMatch(/carbonado_control_requests_total\{method="GET",route="[^"]*perftiers\/:name",code="404"\} \d+/)
  expect(text).toContain('carbonado_control_objects{kind="PerfTier"}')
  expect(text).not.toContain('some-secret-name')
})

test('the certificate is checked', async () => {
  const server = control.urls.find((url) => url.startsWith('https'))!
  const trusting = new RestStore({ server, caFile: files.certificateFile, token: testTokens.viewer })
  await expect(trusting.list(Network)).resolves.toMatchObject({ items: [] })
  const strict = new RestStore({ server, token: testTokens.viewer })
  await expect(strict.list(Network)).rejects.toThrow(expect.objectContaining({ code: 'Unavailable' }))
  const careless = new RestStore({ server, insecure: true, token: testTokens.viewer })
  await expect(careless.list(Network)).resolves.toMatchObject({ items: [] })
  await Promise.all([trusting, strict, careless].map((store) => store.close()))
})
