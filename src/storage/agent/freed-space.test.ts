import { expect, it } from 'vitest'
import { FreedSpace } from './freed-space.ts'

it('reads again when something was given back meanwhile, on that drive', async () => {
  const freed = new FreedSpace()
  let reads = 0
  const read = async (): Promise<number> => {
    reads += 1
    if (reads === 1) await freed.during('d', async () => {})
    await freed.during('other', async () => {})
    return reads
  }
  expect(await freed.readStill('d', read)).toBe(2)
})

it('says that it read nothing while something is being given back, or again and again', async () => {
  const freed = new FreedSpace()
  const { promise, resolve } = Promise.withResolvers<void>()
  const freeing = freed.during('d', () => promise)
  expect(await freed.readStill('d', async () => 'read')).toBeUndefined()
  resolve()
  await freeing
  expect(await freed.readStill('d', async () => 'read')).toBe('read')
  expect(await freed.readStill('d', () => freed.during('d', async () => {}))).toBeUndefined()
  const failing = freed.during('d', () => Promise.reject(new Error('in use')))
  await expect(failing).rejects.toThrow('in use')
  expect(await freed.readStill('d', async () => 'read')).toBe('read')
})
