import { expect, it } from 'vitest'
import { ReceiveWindows } from './receive-windows.ts'

const floor = 100

/** Looks every 50 ms for so many seconds; returns the windows. */
function watch(seconds: number, seen: (second: number) => { delivered: number; wasHeldBack: boolean }): object {
  const windows = new ReceiveWindows()
  for (let now = 0; now <= seconds * 1000; now += 50) windows.look(now, [{ id: 'gold', floor, ...seen(now / 1000) }])
  return windows.of('gold')
}

it('counts seconds in which the floor was delivered, and those in which it was held back', () => {
  expect(watch(10, () => ({ delivered: 100, wasHeldBack: false }))).toEqual({ withDemand: 10, attained: 10 })
  expect(watch(10, () => ({ delivered: 60, wasHeldBack: true }))).toEqual({ withDemand: 10, attained: 0 })
  const half = watch(10, (second) => ({ delivered: second <= 5 ? 100 : 60, wasHeldBack: true }))
  expect(half).toEqual({ withDemand: 10, attained: 5 })
})

it('counts nothing for who wants less than the floor, or nothing', () => {
  expect(watch(10, () => ({ delivered: 60, wasHeldBack: false }))).toEqual({ withDemand: 0, attained: 0 })
  expect(watch(10, () => ({ delivered: 0, wasHeldBack: true }))).toEqual({ withDemand: 0, attained: 0 })
  const bursts = watch(10, (second) => ({ delivered: second % 1 < 0.5 ? 100 : 10, wasHeldBack: false }))
  expect(bursts).toEqual({ withDemand: 0, attained: 0 })
})

it('averages over a window: a tenth without frames does not miss a floor that is made up for', () => {
  const uneven = watch(10, (second) => ({ delivered: second % 1 < 0.9 ? 120 : 1, wasHeldBack: true }))
  expect(uneven).toEqual({ withDemand: 10, attained: 10 })
})

it('begins anew after a time in which nobody looked, and forgets who has gone', () => {
  const windows = new ReceiveWindows()
  const look = (now: number): void => windows.look(now, [{ id: 'gold', floor, delivered: 100, wasHeldBack: false }])
  for (let now = 0; now <= 900; now += 100) look(now)
  look(2000)
  look(2100)
  expect(windows.of('gold').withDemand).toBe(0)
  for (let now = 2200; now <= 3000; now += 100) look(now)
  expect(windows.of('gold')).toEqual({ withDemand: 1, attained: 1 })
  windows.look(3100, [])
  expect(windows.of('gold').withDemand).toBe(0)
})
