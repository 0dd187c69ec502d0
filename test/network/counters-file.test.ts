import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  CountersReader,
  encodeEndpoint,
  forwardingKey,
  foundReceivers,
  maximumSlots,
  slotKey,
} from '../../src/network/soft-vf/map-layout.ts'
import { loadPrograms, type Programs } from '../../src/network/soft-vf/programs.ts'
import { arrivalSize } from '../../src/network/soft-vf/receive-control.ts'
import { pins } from '../support/one-node.ts'
import { enterOwnNamespaces } from '../support/own-namespaces.ts'

let programs: Programs

beforeAll(async () => {
  enterOwnNamespaces()
  programs = await loadPrograms({ objects: 'build/bpf', pins })
})
afterAll(() => programs.close())

const slots = Array.from({ length: maximumSlots - 1 }, (_, index) => index + 1)

it('tells the counters of a node whose slots are all in use, in order', () => {
  for (const slot of slots) programs.startCounting(slot)
  const names = new Map(slots.map((slot) => [slot, `endpoint${slot}`]))
  const told = new CountersReader().read(programs.readCounters(), names)
  expect(told.map(({ endpointId }) => endpointId)).toEqual([...names.values()])
  for (const slot of slots) programs.stopCounting(slot)
  expect(programs.readCounters().length).toBe(0)
})

it('tells of each whether frames to it find it', () => {
  const entry = { endpointId: '6c0f8a9e-0000-4000-8000-000000000001', addresses: [], bandwidthFloor: 0 }
  const endpoints = [
    { slot: 70, macAddress: '02:00:00:00:00:01', vlan: 100, forwardedTo: 70 },
    { slot: 71, macAddress: '02:00:00:00:00:02', vlan: 100, forwardedTo: 72 },
    { slot: 72, macAddress: '02:00:00:00:00:03', vlan: 100, forwardedTo: undefined },
  ]
  for (const { slot, macAddress, vlan, forwardedTo } of endpoints) {
    programs.endpoints.set(slotKey(slot), encodeEndpoint({ ...entry, macAddress, vlan }))
    if (forwardedTo !== undefined) programs.forwarding.set(forwardingKey(macAddress, vlan), forwardedTo)
    programs.startCounting(slot)
  }
  expect([...foundReceivers(programs.readCounters())]).toEqual([
    [70, true],
    [71, false],
    [72, false],
  ])
})

it('goes on, as that of arrivals does, when somebody removes its pin', () => {
  programs.startCounting(80)
  programs.receiving.arrivals.set(Buffer.alloc(12, 1), Buffer.alloc(arrivalSize))
  const files = (): string[] => readdirSync(pins).filter((name) => /-(counters|arrivals)$/.test(name))
  expect(files().length).toBe(2)
  for (const name of files()) rmSync(join(pins, name))
  expect(programs.readCounters().length).toBeGreaterThan(0)
  expect(programs.receiving.arrivalsFile.read().length).toBeGreaterThan(0)
})
