import { describe, expect, it } from 'vitest'
import { createLogger } from '../../base/index.ts'
import type { ReceiveControl, ReceiverAddress } from '../receive-control.ts'
import { LimitKeeper } from './limit-keeper.ts'
import { parseReceiveLimits } from './limit-message.ts'

/** A kernel of which only the limits matter. */
class FakeControl implements ReceiveControl {
  readonly limits = new Map<string, { rate: number; milliseconds: number }>()

  receivedBytes(): number {
    return 0
  }

  countArrivals(): void {}

  arrivals(): [] {
    return []
  }

  forgetArrivals(): void {}

  async limit({ macAddress }: ReceiverAddress, rate: number, milliseconds: number): Promise<void> {
    this.limits.set(macAddress, { rate, milliseconds })
  }

  async lift({ macAddress }: ReceiverAddress): Promise<void> {
    this.limits.delete(macAddress)
  }

  use(): { passedBytes: number; droppedBytes: number } {
    return { passedBytes: 1, droppedBytes: 2 }
  }

  async sweep(): Promise<ReceiverAddress[]> {
    return []
  }
}

const silent = createLogger('test', 'silent')
const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03']
const message = (receivingNode: string, sequence: number, which: number[]): Parameters<LimitKeeper['apply']>[0] => ({
  receivingNode,
  sequence,
  lease: 10_000,
  limits: which.map((index) => ({ macAddress: macs[index]!, vlan: 1, rate: 1e6 * (index + 1) })),
})

describe('LimitKeeper', () => {
  it('keeps exactly what each receiving node asked for last', async () => {
    const control = new FakeControl()
    const keeper = new LimitKeeper(control, silent)
    expect(await keeper.apply(message('n1', 1, [0, 1]))).toEqual({ uses: Array(2).fill({ passedBytes: 1, droppedBytes: 2 }) })
    await keeper.apply(message('n2', 1, [2]))
    expect([...control.limits.keys()]).toEqual(macs)
    await keeper.apply(message('n1', 2, [1]))
    expect([...control.limits.keys()]).toEqual([macs[1], macs[2]])
    await keeper.apply(message('n1', 3, []))
    expect([...control.limits]).toEqual([[macs[2], { rate: 3e6, milliseconds: 10_000 }]])
  }) // prettier-ignore

  it('leaves a receiver limited that has moved to another node, when the old one lets go of it', async () => {
    const control = new FakeControl()
    const keeper = new LimitKeeper(control, silent)
    await keeper.apply(message('n1', 1, [0]))
    await keeper.apply(message('n2', 1, [0]))
    await keeper.apply(message('n1', 2, []))
    expect([...control.limits.keys()]).toEqual([macs[0]])
  })

  it('refuses a message that was overtaken, until the lease of the newer one has ended', async () => {
    let now = 0
    const control = new FakeControl()
    const keeper = new LimitKeeper(control, silent, () => now)
    await keeper.apply(message('n1', 7, [0]))
    await expect(keeper.apply(message('n1', 6, []))).rejects.toMatchObject({ code: 'Conflict' })
    expect(control.limits.size).toBe(1)
    now = 10_001 // a receiving node whose clock was set back begins lower
    await keeper.apply(message('n1', 1, []))
    expect(control.limits.size).toBe(0)
  })
})

describe('parseReceiveLimits', () => {
  const good = message('n1', 1, [0])
  it('takes what an agent sends', () => expect(parseReceiveLimits(good)).toEqual(good))

  it.each([
    ['nothing', undefined],
    ['a list', []],
    ['another key', { ...good, more: 1 }],
    ['no node', { ...good, receivingNode: undefined }],
    ['a node that is a path', { ...good, receivingNode: '../n1' }],
    ['a name without end', { ...good, receivingNode: 'n'.repeat(300) }],
    ['a sequence with a fraction', { ...good, sequence: 1.5 }],
    ['a sequence beyond all numbers', { ...good, sequence: 1e300 }],
    ['a lease for ever', { ...good, lease: 1e9 }],
    ['no lease', { ...good, lease: 0 }],
    ['limits that are none', { ...good, limits: {} }],
    ['too many limits', { ...good, limits: Array(4097).fill(good.limits[0]) }],
    ['a rate of nothing', { ...good, limits: [{ ...good.limits[0], rate: 0 }] }],
    ['a negative rate', { ...good, limits: [{ ...good.limits[0], rate: -1 }] }],
    ['a rate that is no number', { ...good, limits: [{ ...good.limits[0], rate: '1M' }] }],
    ['the broadcast address', { ...good, limits: [{ ...good.limits[0], macAddress: 'ff:ff:ff:ff:ff:ff' }] }],
    ['a MAC with more behind it', { ...good, limits: [{ ...good.limits[0], macAddress: `${macs[0]}\n` }] }],
    ['a VLAN that does not exist', { ...good, limits: [{ ...good.limits[0], vlan: 4095 }] }],
  ])('refuses %s', (_name, value) => {
    expect(() => parseReceiveLimits(value)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
  })
})
