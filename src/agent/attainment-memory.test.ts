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

const reading = (withDemand: number, attained: number): EndpointCounters[] => [
  { ...zeroCounters('u1'), windows: { withDemand, attained } },
]

test('the last hour outlives the agent, with what the kernel counted while it was away', async () => {
  const first = createAttainmentMemory(file, silentLogger())
  await first.start()
  first.record(reading(0, 0))
  first.record(reading(10, 9))
  expect(first.lastHour('u1')).toMatchObject({ withDemand: 10, attained: 9 })
  expect(first.lastSeconds('u1')).toMatchObject({ withDemand: 10, attained: 9 })
  await first.stop()
  expect(statSync(file).size).toBeLessThan(1000)

  const second = createAttainmentMemory(file, silentLogger())
  await second.start()
  expect(second.lastHour('u1')).toMatchObject({ withDemand: 10, attained: 9 })
  second.record(reading(15, 14))
  expect(second.lastHour('u1')).toMatchObject({ withDemand: 15, attained: 14 })
  expect(second.lastHour('u2')).toBeUndefined()
  await second.stop()
})

test.each(['', '{', 'null', '[]', '{"at": 1}', '\u0000'])('a damaged file %j is a new start', async (text) => {
  const memory = createAttainmentMemory(file, silentLogger())
  await memory.start()
  memory.record(reading(1, 1))
  await memory.stop()
  writeFileSync(file, text)
  const next = createAttainmentMemory(file, silentLogger())
  await next.start()
  next.record(reading(5, 5))
  expect(next.lastHour('u1')).toMatchObject({ withDemand: 0 })
  await next.stop()
  expect(JSON.parse(readFileSync(file, 'utf8'))).toHaveProperty('promises')
})

test('a folder that cannot be written costs the figures and nothing else', async () => {
  writeFileSync(join(folder, 'state'), 'in the way')
  const memory = createAttainmentMemory(file, silentLogger())
  await memory.start()
  memory.record(reading(1, 1))
  await memory.stop()
})
