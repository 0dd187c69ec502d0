import { expect, test } from 'vitest'
import { webToken } from '../../test/support/web-token.ts'
import { createVisitorCheck, visitorAudience } from './visitors.ts'

const account = 'system:serviceaccount:carbonado-system:carbonado-visitor'

function apiServer(status: object): { store: never; asked: () => number } {
  let asked = 0
  const request = async (): Promise<object> => {
    asked += 1
    return { status }
  }
  return { store: { request } as never, asked: () => asked }
}

test.each([
  ['a visitor', { authenticated: true, audiences: [visitorAudience], user: { username: account } }, true],
  ['somebody else', { authenticated: true, audiences: [visitorAudience], user: { username: 'ann' } }, false],
  ['a token for the API server', { authenticated: true, audiences: ['https://kubernetes'], user: { username: account } }, false],
  ['a token for anything', { authenticated: true, user: { username: account } }, false],
  ['a token that is none', { authenticated: false }, false],
])('%s', async (_who, status, expected) => {
  expect(await createVisitorCheck(apiServer(status).store, account)(webToken(visitorAudience))).toBe(expected)
}) // prettier-ignore

test('the API server is asked once a minute for a token', async () => {
  const server = apiServer({ authenticated: false })
  let time = 0
  const check = createVisitorCheck(server.store, account, { now: () => time })
  const [one, other] = [webToken(visitorAudience, 'one'), webToken([visitorAudience], 'other')]
  for (const at of [0, 1, 59_999]) {
    time = at
    await check(one)
  }
  expect(server.asked()).toBe(1)
  await check(other)
  time = 60_001
  await check(one)
  expect(server.asked()).toBe(3)
})

test.each(['token', 'a.b.c', webToken(), webToken('https://kubernetes'), webToken(['carbonado.io/agents'])])(
  'the API server is not asked about %s',
  async (token) => {
    const server = apiServer({ authenticated: true, audiences: [visitorAudience], user: { username: account } })
    expect(await createVisitorCheck(server.store, account)(token)).toBe(false)
    expect(server.asked()).toBe(0)
  },
)
