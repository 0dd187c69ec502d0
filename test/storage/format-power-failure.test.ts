import { join } from 'node:path'
import { expect, test } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { PublishJournal, type PublishRecord } from '../../src/storage/agent/publish/publish-journal.ts'
import { LoopFilesystem } from '../support/loop-filesystem.ts'
import { enterOwnNamespaces } from '../support/own-namespaces.ts'

enterOwnNamespaces()

/** What the agent knows after a power failure now: the disk as it is, taken up by another boot. */
function afterPowerFailure(disk: LoopFilesystem): PublishRecord[] {
  using copy = new LoopFilesystem({ image: disk.copyImage() })
  return new PublishJournal(join(copy.path, 'published'), 'next boot', silentLogger()).all()
}

test('a power failure while a volume is formatted formats it again; one after its first use never does', () => {
  const record: PublishRecord = {
    ...{ volumeName: 'v', volumeUid: 'u', stagingPath: '/staging', device: '/dev/loop0' },
    ...{ state: 'staging', access: 'mount', filesystem: 'ext4', readOnly: false, mountFlags: [], targets: [] },
  }
  using disk = new LoopFilesystem()
  const journal = new PublishJournal(join(disk.path, 'published'), 'this boot', silentLogger())
  journal.put(record)
  journal.put({ ...record, state: 'formatting' })
  expect(afterPowerFailure(disk)).toMatchObject([{ volumeName: 'v', state: 'formatting' }])
  journal.put(record)
  journal.put({ ...record, state: 'staged' })
  expect(afterPowerFailure(disk)).toEqual([])
  journal.put({ ...record, state: 'formatting' })
  journal.delete('v')
  expect(afterPowerFailure(disk)).toEqual([])
})
