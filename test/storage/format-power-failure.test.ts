import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { PublishJournal, type PublishRecord } from '../../src/storage/agent/publish/publish-journal.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

enterOwnNamespaces()

let folder: string
let disk: string
const mounted: string[] = []

/** Mounts a disk that writes out by itself after five minutes only; returns where. */
function mount(image: string): string {
  const place = `${image}.mounted`
  mkdirSync(place)
  run('mount', '-o', 'loop,commit=300', image, place)
  mounted.push(place)
  return place
}

/** What the agent knows after a power failure now: the disk as it is, taken up by another boot. */
function afterPowerFailure(name: string): PublishRecord[] {
  const copy = join(folder, name)
  copyFileSync(disk, copy)
  return new PublishJournal(join(mount(copy), 'published'), 'next boot', silentLogger()).all()
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-format-'))
  disk = join(folder, 'disk')
  writeFileSync(disk, '')
  truncateSync(disk, 64 * 2 ** 20)
  run('mkfs.ext4', '-q', '-F', disk)
})
afterAll(() => {
  for (const place of mounted) run('umount', place)
  rmSync(folder, { recursive: true })
})

test('a power failure while a volume is formatted formats it again; one after its first use never does', () => {
  const record: PublishRecord = {
    ...{ volumeName: 'v', volumeUid: 'u', stagingPath: '/staging', device: '/dev/loop0' },
    ...{ state: 'staging', access: 'mount', filesystem: 'ext4', readOnly: false, mountFlags: [], targets: [] },
  }
  const published = join(mount(disk), 'published')
  const journal = new PublishJournal(published, 'this boot', silentLogger())
  journal.put(record)
  journal.put({ ...record, state: 'formatting' })
  expect(afterPowerFailure('formatting')).toMatchObject([{ volumeName: 'v', state: 'formatting' }])
  journal.put(record)
  journal.put({ ...record, state: 'staged' })
  expect(afterPowerFailure('used')).toEqual([])
  journal.put({ ...record, state: 'formatting' })
  journal.delete('v')
  expect(afterPowerFailure('deleted')).toEqual([])
})
