import { expect, test } from 'vitest'
import type { ReceiverAddress } from '../receive-control.ts'
import { SoftVfReceiveControl } from './receive-control.ts'

/** A map of the programs in memory. */
class FakeMap {
  readonly #entries = new Map<string, Buffer>()
  get(key: Buffer): Buffer | undefined {
    return this.#entries.get(key.toString('hex'))
  }
  set(key: Buffer, value: Buffer): void {
    this.#entries.set(key.toString('hex'), value)
  }
  delete(key: Buffer): void {
    this.#entries.delete(key.toString('hex'))
  }
  keys(): Buffer[] {
    return [...this.#entries.keys()].map((key) => Buffer.from(key, 'hex'))
  }
}

const limitsInForce = 2

test('a limit that comes while others are swept stays in force', async () => {
  const maps = { limits: new FakeMap(), limitStates: new FakeMap(), flags: 0, setFlag(flag: number, isSet: boolean): void {
    maps.flags = isSet ? maps.flags | flag : maps.flags & ~flag
  } } // prettier-ignore
  const removal = Promise.withResolvers<void>()
  const limiter = { setRate: () => Promise.resolve(), remove: () => removal.promise }
  const control = new SoftVfReceiveControl(
    () => maps as never,
    () => limiter as never,
    () => undefined,
  )
  const receiver = (digit: number): ReceiverAddress => ({ macAddress: `02:00:00:00:00:0${digit}`, vlan: 100 })
  await control.limit(receiver(1), 1e6, -1) // over already
  const sweeping = control.sweep() // waits for its class to be removed
  await control.limit(receiver(2), 1e6, 10_000)
  removal.resolve()
  await sweeping
  expect(maps.flags & limitsInForce).toBe(limitsInForce)
  expect(await control.sweep()).toEqual([receiver(2)])

  await control.lift(receiver(2))
  expect(await control.sweep()).toEqual([])
  expect(maps.flags & limitsInForce).toBe(0)
})
