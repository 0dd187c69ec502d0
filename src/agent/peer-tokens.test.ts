import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { webToken } from '../../test/support/web-token.ts'
import { Unavailable } from '../base/index.ts'
import { peerAudience, withPeerTokens } from './peer-tokens.ts'

const account = 'system:serviceaccount:carbonado-system:carbonado-agent'
const ofN1 = { username: account, extra: { 'authentication.kubernetes.io/node-name': ['n1'] } }
const good = { authenticated: true, audiences: [peerAudience], user: ofN1 }

/** An API server that answers with a status, which can be changed, or not at all. */
function apiServer(status: object): { store: never; state: { status: object; isAway: boolean; asked: number } } {
  const state = { status, isAway: false, asked: 0 }
  const request = async (): Promise<object> => {
    state.asked += 1
    if (state.isAway) throw new Unavailable('away')
    return { status: state.status }
  }
  return { store: { request } as never, state }
}

const nobody = (): undefined => undefined
const bearer = `Bearer ${webToken(peerAudience)}`

test.each([
  ['an agent speaks for the node of its pod', good, { user: account, role: 'agent', nodeName: 'n1' }],
  ['a token that is bound to no pod', { ...good, user: { username: account } }, undefined],
  ['somebody else on a node', { ...good, user: { ...ofN1, username: 'system:serviceaccount:shop:web' } }, undefined],
  ['a token for the API server', { ...good, audiences: ['https://kubernetes'] }, undefined],
  ['a token that is none', { authenticated: false }, undefined],
])('%s', async (_who, status, expected) => {
  const authenticate = withPeerTokens(nobody, apiServer(status).store, account)
  expect(await authenticate(bearer)).toEqual(expected)
  expect(await authenticate(undefined)).toBeUndefined()
})

test('who is known otherwise is not asked about', async () => {
  const { store, state } = apiServer(good)
  const known = { user: 'control', role: 'viewer' }
  expect(await withPeerTokens(() => known, store, account)(bearer)).toEqual(known)
  expect(state.asked).toBe(0)
})

test('an agent stays known for an hour while the API server is away, and no longer once that says so', async () => {
  const { store, state } = apiServer(good)
  let now = 0
  const authenticate = withPeerTokens(nobody, store, account, { now: () => now })
  const isKnown = async (): Promise<boolean> => (await authenticate(bearer)) !== undefined
  expect(await isKnown()).toBe(true)
  state.isAway = true
  now = 3_600_000
  expect(await isKnown()).toBe(true)
  now = 3_660_000
  expect(await isKnown()).toBe(false)
  state.isAway = false
  expect(await isKnown()).toBe(true)

  state.status = { authenticated: false }
  now += 60_000
  expect(await isKnown()).toBe(true) // the answer is on its way
  for (let i = 0; i < 5; i++) await turn()
  expect(await isKnown()).toBe(false)
})

test('tokens that are none do not make the API server forget an agent, nor be asked when they cannot be one', async () => {
  const { store, state } = apiServer(good)
  let now = 0
  const authenticate = withPeerTokens(nobody, store, account, { now: () => now })
  await authenticate(bearer)
  state.status = { authenticated: false }
  for (let i = 0; i < 1_100; i++) await authenticate(`Bearer ${webToken(peerAudience, `stranger${i}`)}`)
  expect(state.asked).toBe(1_101)
  for (const token of ['token', 'a.b.c', webToken(), webToken('carbonado.io/live')]) {
    expect(await authenticate(`Bearer ${token}`)).toBeUndefined()
  }
  expect(state.asked).toBe(1_101)
  state.isAway = true
  now = 3_600_000
  expect(await authenticate(bearer)).toBeDefined()
})
