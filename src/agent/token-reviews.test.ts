import { expect, test } from 'vitest'
import { rememberReviews, type ReviewedUser, type ReviewToken } from './token-reviews.ts'

const user: ReviewedUser = { username: 'ann', groups: [] }

/** An API server that answers when it is told to. */
function slowReview(): { review: ReviewToken; asked: string[]; answer: (user?: ReviewedUser) => void } {
  const asked: string[] = []
  const waiting: ((user?: ReviewedUser) => void)[] = []
  const review: ReviewToken = (token) => {
    asked.push(token)
    return new Promise((resolve) => waiting.push(resolve))
  }
  return { review, asked, answer: (user) => waiting.splice(0).forEach((resolve) => resolve(user)) }
}

const always = (): boolean => true

test('eight strangers are asked about at a time, whatever their tokens are for; who is known is asked about beside', async () => {
  const { review, asked, answer } = slowReview()
  let now = 0
  const options = { now: () => now, strangers: new Set<Promise<unknown>>() }
  const [peers, visitors] = [rememberReviews(review, always, options), rememberReviews(review, always, options)]
  const known = peers('known')
  answer(user)
  expect(await known).toEqual(user)

  now = 60_000
  const strangers = Array.from({ length: 8 }, (_, i) => (i % 2 ? peers : visitors)(`stranger${i}`))
  expect(await peers('late')).toBeUndefined()
  expect(await visitors('late')).toBeUndefined()
  const again = peers('known')
  const same = peers('stranger1') // waits for the answer that is on its way
  expect(asked).toHaveLength(10)
  answer(user)
  expect(await Promise.all([...strangers, again, same])).toEqual(Array(10).fill(user))

  const late = peers('late') // was not remembered as nobody's
  answer(user)
  expect(await late).toEqual(user)
})

test('an API server that fails gives way to the next strangers', async () => {
  let asked = 0
  const review = rememberReviews(() => {
    asked += 1
    return Promise.reject(new Error('away'))
  }, always)
  for (let i = 0; i < 20; i++) await expect(review(`stranger${i}`)).rejects.toThrow('away')
  expect(asked).toBe(20)
})

test('of a thousand tokens the one is forgotten that was not asked about for longest', async () => {
  const asked: string[] = []
  let now = 0
  const review = rememberReviews(
    async (token) => {
      asked.push(token)
      return user
    },
    always,
    { now: () => now },
  )
  await review('first')
  for (let i = 0; i < 998; i++) await review(`other${i}`)
  now = 60_000
  await review('first')
  for (const token of ['one more', 'and another']) await review(token)
  asked.length = 0
  await review('first')
  expect(asked).toEqual([])
})
