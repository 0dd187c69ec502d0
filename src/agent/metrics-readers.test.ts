import { expect, test } from 'vitest'
import { webToken } from '../../test/support/web-token.ts'
import { metricsReaderRole, withMetricsReaders } from './metrics-readers.ts'

const authenticated = {
  authenticated: true,
  user: { username: 'system:serviceaccount:shop:prometheus', groups: ['a'] },
}

interface Question {
  path: string
  spec: unknown
}

/** An API server that knows a token and decides what its user may. */
function apiServer(review: object, access: object): { store: never; asked: Question[] } {
  const asked: Question[] = []
  const request = async (_method: string, path: string, { spec }: { spec: unknown }): Promise<object> => {
    asked.push({ path: path.split('/').at(-1)!, spec })
    return { status: path.endsWith('/tokenreviews') ? review : access }
  }
  return { store: { request } as never, asked }
}

const nobody = (): undefined => undefined
const token = webToken('https://kubernetes')
const bearer = `Bearer ${token}`

test.each([
  ['who may', authenticated, { allowed: true }, { user: authenticated.user.username, role: metricsReaderRole }],
  ['who may not', authenticated, { allowed: false }, undefined],
  ['of whom nothing is said', authenticated, {}, undefined],
  ['whom nobody knows', { authenticated: false }, { allowed: true }, undefined],
  ['without a name', { authenticated: true, user: {} }, { allowed: true }, undefined],
])('%s', async (_who, review, access, expected) => {
  const { store } = apiServer(review, access)
  expect(await withMetricsReaders(nobody, store)(bearer, undefined, '/metrics')).toEqual(expected)
})

test('the API server is asked about the user, not only about the token, and about metrics alone', async () => {
  const { store, asked } = apiServer(authenticated, { allowed: true })
  const authenticate = withMetricsReaders(nobody, store)
  for (const path of ['/v1/endpoints', '/metrics/', '/healthz', undefined]) {
    expect(await authenticate(bearer, undefined, path)).toBeUndefined()
  }
  expect(await authenticate(undefined, token, '/metrics')).toBeUndefined()
  expect(asked).toEqual([])
  await authenticate(bearer, undefined, '/metrics')
  await authenticate(bearer, undefined, '/metrics')
  expect(asked).toEqual([
    { path: 'tokenreviews', spec: { token } },
    {
      path: 'subjectaccessreviews',
      spec: {
        user: authenticated.user.username,
        groups: ['a'],
        nonResourceAttributes: { path: '/metrics', verb: 'get' },
      },
    },
  ])
})

test('an API server that does not answer makes nobody a reader, and who is known otherwise is not asked about', async () => {
  const away = { request: () => Promise.reject(new Error('away')) } as never
  expect(await withMetricsReaders(nobody, away)(bearer, undefined, '/metrics')).toBeUndefined()
  const known = { user: 'control', role: 'viewer' }
  expect(await withMetricsReaders(() => known, away)(bearer, undefined, '/metrics')).toEqual(known)
})

test('a token may be for the API server when it does not say that it is for something of ours', async () => {
  const { store, asked } = apiServer({ authenticated: false }, {})
  const authenticate = withMetricsReaders(nobody, store)
  const ours = ['carbonado.io/agents', 'carbonado.io/live']
  for (const token of ['token', 'a.b.c', webToken(ours[0]), webToken(ours)]) {
    await authenticate(`Bearer ${token}`, undefined, '/metrics')
  }
  expect(asked).toEqual([])
  for (const token of [webToken(), webToken([...ours, 'https://kubernetes'])]) {
    await authenticate(`Bearer ${token}`, undefined, '/metrics')
  }
  expect(asked).toHaveLength(2)
})
