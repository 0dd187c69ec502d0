import { expect, it } from 'vitest'
import { DriveCopies } from './drive-copies.ts'

const device = { id: 'plex', driveName: 'drive', devicePath: '/dev/loop7' }

/** Milliseconds from a moment on until something is done; a timer may be a millisecond early. */
async function until(done: Promise<void>, since: number): Promise<number> {
  await done
  return performance.now() - since
}

it('is a volume without a floor for as long as somebody copies', () => {
  const copies = new DriveCopies(() => undefined)
  copies.begin(device)
  copies.begin(device)
  expect(copies.volumes()).toEqual([
    { ...device, name: 'copy of plex', floor: 0, consumers: [], isCopy: true }, // once, however many read it
  ])
  copies.end('plex')
  expect(copies.volumes()).toHaveLength(1)
  copies.end('plex')
  expect(copies.volumes()).toEqual([])
  copies.end('plex') // what ends twice ends once
})

it('waits after each block as long as that may take, together with whoever reads the same', async () => {
  const copies = new DriveCopies((id) => (id === 'plex' ? 10_000 : undefined))
  const [one, other] = [copies.begin(device), copies.begin(device)]
  expect(one.isHeld()).toBe(true)
  const since = performance.now() // of both: the second is asked for later than the first
  const [first, second] = await Promise.all([until(one.after(1000), since), until(other.after(1000), since)])
  expect(first).toBeGreaterThanOrEqual(99)
  expect(second).toBeGreaterThanOrEqual(198)
})

it('does not wait for ever, and not at all when nobody holds it back', async () => {
  let allowance: number | undefined = 1
  const copies = new DriveCopies(() => allowance)
  const pace = copies.begin(device)
  await pace.after(2 ** 20) // 12 days at that rate
  allowance = undefined
  expect(pace.isHeld()).toBe(false)
  await pace.after(2 ** 20)
})
