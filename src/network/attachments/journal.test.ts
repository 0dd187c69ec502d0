import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../base/index.ts'
import { openJournal, type Journal, type JournalRecord } from './journal.ts'

let directory: string
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'carbonado-journal-'))))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const open = (bootId = 'one'): Journal => openJournal({ file: join(directory, 'j.db'), bootId, logger: silentLogger() })

const record: JournalRecord = {
  state: 'attached',
  endpointId: 'u1',
  namespace: 'default',
  name: 'e1',
  containerId: 'c1',
  interfaceName: 'eth0',
  networkName: 'blue',
  request: {
    endpointId: 'u1',
    endpointName: 'default/e1',
    containerId: 'c1',
    netns: '/run/netns/c1',
    interfaceName: 'eth0',
    macAddress: '02:00:00:00:00:01',
    addresses: [],
    vlan: 0,
    bandwidthFloor: 0,
  },
}

test('records are there again after a restart, and gone when deleted', () => {
  let journal = open()
  journal.put(record)
  journal.put({ ...record, endpointId: 'u2', state: 'removing' })
  journal.delete('u1')
  journal.close()
  journal = open()
  expect(journal.all()).toEqual([{ ...record, endpointId: 'u2', state: 'removing' }])
  journal.close()
})

test('another boot is noticed until it is confirmed', () => {
  let journal = open()
  expect(journal.isFromEarlierBoot).toBe(false)
  journal.confirmBoot()
  journal.close()
  journal = open('two')
  expect(journal.isFromEarlierBoot).toBe(true)
  journal.confirmBoot()
  journal.close()
  journal = open('two')
  expect(journal.isFromEarlierBoot).toBe(false)
  journal.close()
})

test('a second agent is kept out', () => {
  const journal = open()
  expect(() => open()).toThrow('in use by another process')
  journal.close()
})

test.each(['not a database', ''])('a damaged file (%j) is moved aside or taken as new', (content) => {
  writeFileSync(join(directory, 'j.db'), content)
  const journal = open()
  expect(journal.all()).toEqual([])
  journal.put(record)
  journal.close()
  expect(readdirSync(directory).some((name) => name.includes('damaged'))).toBe(content !== '')
})

test('a record of unknown shape counts as damage', () => {
  let journal = open()
  journal.put({ endpointId: 'u1' } as JournalRecord)
  journal.close()
  journal = open()
  expect(journal.all()).toEqual([])
  journal.close()
})
