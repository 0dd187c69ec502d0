import { expect, it } from 'vitest'
import { ReceiveProblems, type ReceiveState } from './receive-problems.ts'

const calm: ReceiveState = { budget: 970e6, outside: 0, promised: 600e6, isUnderPressure: false, untold: [] }
const flooded: ReceiveState = { ...calm, outside: 500e6, isUnderPressure: true }

it('tells of a flood from outside that has lasted, once, until it is over', () => {
  const problems = new ReceiveProblems()
  expect(problems.look(0, flooded)).toEqual([])
  expect(problems.look(2000, flooded)).toEqual([])
  expect(problems.look(3000, flooded)).toMatchObject([
    { reason: 'OutsideTrafficAboveFloors', message: expect.stringContaining('500 Mbit/s arrive from outside') },
  ])
  expect(problems.look(3100, flooded)).toEqual([])
  expect(problems.all).toHaveLength(1)
  expect(problems.look(4000, calm)).toEqual([])
  expect(problems.all).toEqual([])
  expect(problems.look(5000, flooded)).toEqual([])
})

it('has nothing to say of traffic from outside that leaves room for the floors, or without pressure', () => {
  const problems = new ReceiveProblems()
  for (const now of [0, 5000]) problems.look(now, { ...flooded, outside: 300e6 })
  expect(problems.all).toEqual([])
  for (const now of [6000, 12_000]) problems.look(now, { ...flooded, isUnderPressure: false })
  expect(problems.all).toEqual([])
})

it('names the nodes that could not be told', () => {
  const problems = new ReceiveProblems()
  for (const now of [0, 5000]) problems.look(now, { ...calm, isUnderPressure: true, untold: ['n2', 'n3'] })
  expect(problems.all).toMatchObject([{ reason: 'SendersNotTold', message: expect.stringContaining('n2, n3') }])
})
