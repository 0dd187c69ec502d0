import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../base/index.ts'
import { createFakeKernel, fakePublishSystem, type FakeKernel } from './fake-publish-system.ts'
import { PublishJournal, type PublishRecord } from './publish-journal.ts'
import { VolumePublisher, type PublishRequest } from './volume-publisher.ts'
import type { StageRequest } from './volume-staging.ts'

const size = 64 * 2 ** 20
let folder: string
let kernel: FakeKernel

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'publisher-'))
  kernel = createFakeKernel()
  kernel.devices.set('/dev/v1', { content: 'blank', size })
})
afterEach(() => rmSync(folder, { recursive: true }))

class Killed extends Error {}

/** An agent that dies at its `dieAt`th effect: just before it, or just after. Everything after its death fails. */
function startAgent(
  dieAt = Infinity,
  when: 'before' | 'after' = 'before',
  boot = 'boot',
  beforeUnmount: (path: string) => Promise<void> = () => Promise.resolve(),
): VolumePublisher {
  let effects = 0
  let isDead = false
  const effect = <T>(_name: string, work: () => T): T => {
    if (isDead) throw new Killed()
    effects += 1
    if (effects < dieAt) return work()
    if (when === 'after') work()
    isDead = true
    throw new Killed()
  }
  const journal = new PublishJournal(join(folder, 'journal'), boot, silentLogger())
  const mortal = Object.assign(Object.create(journal) as PublishJournal, {
    get: (name: string) => journal.get(name),
    all: () => journal.all(),
    put: (record: Parameters<PublishJournal['put']>[0]) => effect('journal', () => journal.put(record)),
    delete: (name: string) => effect('journal', () => journal.delete(name)),
  })
  const system = fakePublishSystem(kernel, effect)
  return new VolumePublisher({
    journal: mortal,
    system: { ...system, unmount: (path) => beforeUnmount(path).then(() => system.unmount(path)) },
    deviceOf: () => '/dev/v1',
    onChange: () => {},
    logger: silentLogger(),
  })
}

function staging(more: Partial<StageRequest> = {}): StageRequest {
  return {
    volumeName: 'v1',
    volumeUid: 'uid1',
    device: '/dev/v1',
    access: 'mount',
    filesystem: 'ext4',
    readOnly: false,
    stagingPath: join(folder, 'staging'),
    mountFlags: [],
    ...more,
  }
}

function publishing(more: Partial<PublishRequest> = {}): PublishRequest {
  return {
    volumeName: 'v1',
    stagingPath: join(folder, 'staging'),
    targetPath: join(folder, 'target'),
    access: 'mount',
    readOnly: false,
    isExclusive: false,
    ...more,
  }
}

const mounted = (): string[] =>
  kernel.mounts.map(({ path, readOnly }) => `${path.slice(folder.length + 1)}${readOnly ? ' ro' : ''}`)

/** What an orchestrator does from first to last; each call until it succeeds, by agents that die at ever later moments. */
describe.each([
  { name: 'a filesystem', access: 'mount' as const, readOnly: false },
  { name: 'a filesystem that is published read-only', access: 'mount' as const, readOnly: true },
  { name: 'a block device', access: 'block' as const, readOnly: false },
])('$name', ({ access, readOnly }) => {
  const stage = (): StageRequest => staging({ access, filesystem: access === 'mount' ? 'ext4' : undefined })
  const calls: [string, (agent: VolumePublisher) => Promise<unknown>][] = [
    ['stage', (agent) => agent.stage(stage())],
    ['publish', (agent) => agent.publish(publishing({ access, readOnly }))],
    ['unpublish', (agent) => agent.unpublish('v1', join(folder, 'target'))],
    ['unstage', (agent) => agent.unstage('v1', join(folder, 'staging'))],
  ]

  it.each(calls.map(([name], index) => ({ name, index })))(
    'comes whole through a crash at any point of $name',
    async ({ index }) => {
      for (const when of ['before', 'after'] as const) {
        for (let dieAt = 1; ; dieAt += 1) {
          kernel = createFakeKernel()
          kernel.devices.set('/dev/v1', { content: 'blank', size })
          rmSync(join(folder, 'journal'), { recursive: true, force: true })
          const first = startAgent()
          for (const [, call] of calls.slice(0, index)) await call(first)
          const died = await calls[index]![1](startAgent(dieAt, when)).then(
            () => false,
            (error: unknown) => error instanceof Killed,
          )
          const next = startAgent()
          await next.repair()
          for (const [name, call] of calls.slice(index)) {
            await call(next)
            if (name === 'stage') expect(mounted()).toEqual(access === 'mount' ? ['staging'] : [])
            if (name === 'publish') expect(mounted().at(-1)).toBe(readOnly ? 'target ro' : 'target')
          }
          expect(kernel.mounts).toEqual([])
          expect(kernel.paths.has(join(folder, 'target'))).toBe(false)
          expect(new PublishJournal(join(folder, 'journal'), 'boot', silentLogger()).all()).toEqual([])
          if (!died) break
        }
      }
    },
  )
})

describe('repair', () => {
  const record = (volumeName: string, more: Partial<PublishRecord>): PublishRecord => ({
    ...staging({ volumeName, device: `/dev/${volumeName}`, stagingPath: join(folder, `staging-${volumeName}`) }),
    state: 'staged',
    targets: [],
    ...more,
  })

  /** What an agent left that was killed while it took v1 away and did something with v2; repair comes to v1 first. */
  function leave(unfinished: Partial<PublishRecord>): void {
    const journal = new PublishJournal(join(folder, 'journal'), 'boot', silentLogger())
    for (const left of [record('v1', { state: 'unstaging' }), record('v2', unfinished)]) {
      const { device, stagingPath } = left
      kernel.devices.set(device, { content: { type: 'ext4', size, isClean: true }, size })
      kernel.paths.set(stagingPath, 'empty folder')
      kernel.mounts.push({ path: stagingPath, device, readOnly: false, isBlock: false })
      journal.put(left)
    }
  }

  it.each<{ name: string; unfinished: () => Partial<PublishRecord> }>([
    { name: 'staged', unfinished: () => ({ state: 'staging' }) },
    {
      name: 'published',
      unfinished: () => ({ targets: [{ path: join(folder, 'target'), readOnly: false, state: 'publishing' }] }),
    },
  ])('leaves alone what was told as $name while it was busy with another volume', async ({ unfinished }) => {
    leave(unfinished())
    const slow = Promise.withResolvers<void>()
    const agent = startAgent(Infinity, 'before', 'boot', () => slow.promise)
    const repaired = agent.repair()
    const stagingPath = join(folder, 'staging-v2')
    await agent.stage(staging({ volumeName: 'v2', device: '/dev/v2', stagingPath }))
    await agent.publish(publishing({ volumeName: 'v2', stagingPath }))
    slow.resolve()
    await repaired
    expect(mounted()).toEqual(['staging-v2', 'target'])
    expect(agent.published('v2')?.targetPaths).toEqual([join(folder, 'target')])
    expect(agent.published('v1')).toBeUndefined()
  })
})

it('never formats a device with data, and half a filesystem only when this node began it', async () => {
  for (const content of [{ other: 'a partition table' }, { type: 'xfs', size, isClean: true } as const]) {
    kernel.devices.set('/dev/v1', { content, size })
    await expect(startAgent().stage(staging())).rejects.toMatchObject({ code: 'Conflict' })
    expect(kernel.effects).not.toContain('format')
    expect(mounted()).toEqual([])
  }
})

it('does nothing when asked again, and refuses to do it otherwise', async () => {
  const agent = startAgent()
  await agent.stage(staging())
  await agent.publish(publishing())
  const before = kernel.effects.length
  await agent.stage(staging())
  await agent.publish(publishing())
  expect(kernel.effects).toHaveLength(before)
  await expect(agent.publish(publishing({ readOnly: true }))).rejects.toMatchObject({ details: { isOtherwise: true } })
  await expect(agent.stage(staging({ readOnly: true }))).rejects.toMatchObject({ details: { isOtherwise: true } })
  await expect(agent.stage(staging({ stagingPath: join(folder, 'other') }))).rejects.toThrow(/is staged at/)
  await expect(agent.unstage('v1', join(folder, 'staging'))).rejects.toThrow(/still published at/)
  expect(mounted()).toEqual(['staging', 'target'])
})

it('leaves alone what it did not mount, and paths with something in them', async () => {
  const agent = startAgent()
  await agent.stage(staging())
  kernel.devices.set('/dev/other', { content: 'blank', size })
  kernel.mounts.push({ path: join(folder, 'target'), device: '/dev/other', readOnly: false, isBlock: false })
  await expect(agent.publish(publishing())).rejects.toThrow(/something else is mounted/)
  await expect(agent.unpublish('v1', join(folder, 'target'))).rejects.toThrow(/something else is mounted/)
  for (const kind of ['file', 'folder', 'symbolic link'] as const) {
    const targetPath = join(folder, kind)
    kernel.paths.set(targetPath, kind)
    await expect(agent.publish(publishing({ targetPath }))).rejects.toThrow(`the target path is a ${kind}`)
    expect(kernel.paths.get(targetPath)).toBe(kind === 'file' ? undefined : kind)
  }
  expect(mounted()).toEqual(['staging', 'target'])
})

it('checks ext4 that was not unmounted, and grows filesystems to their devices: ext4 before it is mounted, XFS after', async () => {
  kernel.devices.set('/dev/v1', { content: { type: 'ext4', size, isClean: false }, size: 2 * size })
  await startAgent().stage(staging())
  expect(kernel.effects).toEqual(['make folder', 'check', 'grow unmounted', 'mount'])
  kernel.effects = []
  kernel.devices.set('/dev/v2', { content: { type: 'xfs', size, isClean: true }, size: 2 * size })
  await startAgent().stage(
    staging({ volumeName: 'v2', device: '/dev/v2', filesystem: 'xfs', stagingPath: join(folder, 's2') }),
  )
  expect(kernel.effects).toEqual(['make folder', 'mount', 'grow mounted'])
})

it('publishes at one place only when nobody else may have it', async () => {
  const agent = startAgent()
  await agent.stage(staging())
  await agent.publish(publishing({ isExclusive: true }))
  await agent.publish(publishing({ isExclusive: true }))
  const second = publishing({ isExclusive: true, targetPath: join(folder, 'second') })
  await expect(agent.publish(second)).rejects.toThrow(/may be at one place only/)
  await agent.unpublish('v1', join(folder, 'target'))
  await agent.publish(second)
})

it('forgets what was mounted in an earlier boot, but not that it was formatting', async () => {
  await startAgent().stage(staging())
  kernel.mounts = []
  expect(startAgent(Infinity, 'before', 'next boot').published('v1')).toBeUndefined()
  kernel.devices.set('/dev/v1', { content: 'blank', size })
  await expect(startAgent(3, 'after', 'next boot').stage(staging())).rejects.toThrow(Killed)
  expect(kernel.devices.get('/dev/v1')!.content).toEqual({ other: 'half of a filesystem' })
  const later = startAgent(Infinity, 'before', 'boot after that')
  await later.repair()
  await later.stage(staging())
  expect(mounted()).toEqual(['staging'])
})

it.each([
  ['no', ''],
  ['a relative', 'relative/path'],
  ['a ..', '/a/../b'],
  ['a .', '/a/./b'],
  ['an empty part', '/a//b'],
  ['the root as', '/'],
  ['a long part in', `/${'x'.repeat(300)}`],
  ['a very long', `/${'x/'.repeat(3000)}y`],
  ['a line end in', '/a\nb'],
])('refuses %s path', async (_name, path) => {
  const agent = startAgent()
  await expect(agent.stage(staging({ stagingPath: path }))).rejects.toMatchObject({ code: 'InvalidInput' })
  await expect(agent.publish(publishing({ targetPath: path }))).rejects.toMatchObject({ code: 'InvalidInput' })
  await expect(agent.unpublish('v1', path)).rejects.toMatchObject({ code: 'InvalidInput' })
  expect(kernel.effects).toEqual([])
})
