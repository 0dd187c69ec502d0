import { expect, it } from 'vitest'
import { createFakeDrive, FakePoolFormat, type FakeDrive } from '../fake-pool.ts'
import { OpenPools } from './open-pools.ts'

/** A format whose programs may fail. */
class FailingFormat extends FakePoolFormat {
  isFailing = true

  override async probe(device: string): Promise<string | undefined> {
    if (this.isFailing) throw new Error('lvm failed')
    return super.probe(device)
  }
}

function drives(poolId?: string): Map<string, FakeDrive> {
  const pool = poolId === undefined ? {} : { pool: { id: poolId, entries: new Map() } }
  return new Map([['/dev/a', { ...createFakeDrive(2 ** 30), ...pool }]])
}

it('does not tell that a drive has no pool while a format cannot tell, and keeps the id that was found before', async () => {
  const failing = new FailingFormat(drives('p1'))
  const pools = new OpenPools([failing, new FakePoolFormat(drives())])
  failing.isFailing = false
  expect(await pools.probe('a', '/dev/a')).toEqual({ format: failing, id: 'p1' })
  failing.isFailing = true
  await expect(pools.probe('a', '/dev/a')).rejects.toThrow('lvm failed')
  expect(pools.twinOf('b', 'p1')).toBe('a')
})

it('finds a pool of another format while one cannot tell', async () => {
  const whole = new FakePoolFormat(drives('p2'))
  expect(await new OpenPools([new FailingFormat(drives()), whole]).probe('a', '/dev/a')).toEqual({
    format: whole,
    id: 'p2',
  })
})
