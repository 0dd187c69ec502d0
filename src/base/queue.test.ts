import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { WorkQueue, type WorkQueueOptions } from './queue.ts'

/** A queue whose work ends when the test says so. */
function heldQueue(options: WorkQueueOptions = {}): {
  queue: WorkQueue
  began: string[]
  end: (key: string, error?: Error) => Promise<void>
} {
  const began: string[] = []
  const held = new Map<string, PromiseWithResolvers<void>>()
  const queue = new WorkQueue(async (key) => {
    began.push(key)
    const work = Promise.withResolvers<void>()
    held.set(key, work)
    await work.promise
    return { done: true }
  }, options)
  const end = async (key: string, error?: Error): Promise<void> => {
    const { resolve, reject } = held.get(key)!
    if (error) reject(error)
    else resolve()
    await turn()
  }
  return { queue, began, end }
}

test('a key that is added while it runs is handled once more, however often it was added', async () => {
  const { queue, began, end } = heldQueue()
  queue.add('a')
  for (let i = 0; i < 3; i++) queue.add('a')
  expect(began).toEqual(['a'])
  await end('a')
  expect(began).toEqual(['a', 'a'])
  await end('a')
  expect(began).toEqual(['a', 'a'])
})

test('no more keys run at the same time than allowed; the others come in their order, each once', async () => {
  const { queue, began, end } = heldQueue({ atOnce: 2 })
  for (const key of ['a', 'b', 'c', 'd', 'c', 'a']) queue.add(key)
  expect(began).toEqual(['a', 'b'])
  await end('a') // it was added again, behind those that wait
  expect(began).toEqual(['a', 'b', 'c'])
  await end('c')
  expect(began).toEqual(['a', 'b', 'c', 'd'])
  await end('b')
  expect(began).toEqual(['a', 'b', 'c', 'd', 'a'])
})

test('a failure makes room for the others, and is tried again', async () => {
  const failed: string[] = []
  const { queue, began, end } = heldQueue({ atOnce: 1, retryDelay: 1, onError: (key) => failed.push(key) })
  queue.add('a')
  queue.add('b')
  await end('a', new Error('no'))
  expect(failed).toEqual(['a'])
  expect(began).toEqual(['a', 'b'])
  await end('b')
  await expect.poll(() => began).toEqual(['a', 'b', 'a'])
})

test('a queue that is stopped waits for what runs, and begins nothing of what waits', async () => {
  const { queue, began, end } = heldQueue({ atOnce: 1 })
  for (const key of ['a', 'b', 'a']) queue.add(key)
  let isStopped = false
  const stopping = queue.stop().then(() => (isStopped = true))
  await turn()
  expect(isStopped).toBe(false)
  await end('a')
  await stopping
  expect(began).toEqual(['a'])
})
