import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../base/index.ts'
import { zeroCounters } from '../network/counters.ts'
import type { EndpointCounters } from '../network/engine.ts'
import { createAttainmentMemory } from './attainment-memory.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-memory-'))
  file = join(folder, 'state', 'attainment.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

const nothingReceived = () => ({ withDemand: 0, attained: 0 })

const reading = (withDemand: number, attained: number): EndpointCounters[] => [
  { ...zeroCounters('u1'), windows: { withDemand, attained } },
]

test('the last hour outlives the agent, with what the kernel counted while it was away', async () => {
  const first = createAttainmentMemory(file, nothingReceived, silentLogger())
  await first.start()
  first.record(reading(0, 0))
  first.record(reading(10, 9))
  expect(first.sending('u1').lastHour).toMatchObject({ withDemand: 10, attained: 9 })
  expect(first.sending('u1').lastSeconds).toMatchObject({ withDemand: 10, attained: 9 })
  await first.stop()
  expect(statSync(file).size).toBeLessThan(1000)

  const second = createAttainmentMemory(file, nothingReceived, silentLogger())
  await second.start()
  expect(second.sending('u1').lastHour).toMatchObject({ withDemand: 10, attained: 9 })
  second.record(reading(15, 14))
  expect(second.sending('u1').lastHour).toMatchObject({ withDemand: 15, attained: 14 })
  expect(second.sending('u2').lastHour).toBeUndefined()
  await second.stop()
})

test('windows of receiving are those of this agent and of those before', async () => {
  let now = { withDemand: 7, attained: 6 }
  const first = createAttainmentMemory(file, () => now, silentLogger())
  await first.start()
  first.record(reading(0, 0))
  now = { withDemand: 10, attained: 8 }
  first.record(reading(0, 0))
  expect(first.received('u1')).toEqual({ withDemand: 10, attained: 8 })
  expect(first.receiving('u1').lastHour).toMatchObject({ withDemand: 3, attained: 2 })
  await first.stop()

  now = { withDemand: 2, attained: 2 }
  const second = createAttainmentMemory(file, () => now, silentLogger())
  await second.start()
  second.record(reading(0, 0))
  expect(second.received('u1')).toEqual({ withDemand: 12, attained: 10 })
  expect(second.receiving('u1').lastHour).toMatchObject({ withDemand: 5, attained: 4 })
  second.record([])
  expect(second.received('u1'), 'of one that is gone').toEqual(now)
  await second.stop()
})

test.each(['', '{', 'null', '[]', '{"at": 1}', '{"at": 1, "promises": [], "receiving": 3}', '\u0000'])(
  'a damaged file %j is a new start',
  async (text) => {
    const memory = createAttainmentMemory(file, nothingReceived, silentLogger())
    await memory.start()
    memory.record(reading(1, 1))
    await memory.stop()
    writeFileSync(file, text)
    const next = createAttainmentMemory(file, nothingReceived, silentLogger())
    await next.start()
    next.record(reading(5, 5))
    expect(next.sending('u1').lastHour).toMatchObject({ withDemand: 0 })
    await next.stop()
    expect(JSON.parse(readFileSync(file, 'utf8'))).toHaveProperty('promises')
  },
)

test('a folder that cannot be written costs the figures and nothing else', async () => {
  writeFileSync(join(folder, 'state'), 'in the way')
  const memory = createAttainmentMemory(file, nothingReceived, silentLogger())
  await memory.start()
  memory.record(reading(1, 1))
  await memory.stop()
})
