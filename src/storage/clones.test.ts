import { afterEach, beforeEach, expect, it } from 'vitest'
import { Plex, Snapshot, Volume } from '../api/index.ts'
import { MortalStore } from '../store/mortal-store.ts'
import { cloneAnnotation } from './clone-annotation.ts'
import { eventually, StorageFixture } from './storage-fixture.ts'

let fixture: StorageFixture
beforeEach(async () => {
  fixture = await StorageFixture.start('n1', 'n2')
  await fixture.availableVolume('v1', { nodeNames: ['n1'] })
  fixture.pool('n1').write(await fixture.plexUid('v1'), 0, 'content')
})
afterEach(() => fixture[Symbol.asyncDispose]())

const cloneElsewhere = (name: string): Promise<Volume> =>
  fixture.createVolume(name, { source: { volumeName: 'v1' }, nodeNames: ['n2'] })

/** The plex of a clone, once it has one. */
const plexOf = (volume: string): Promise<Plex> =>
  eventually(() => fixture.store.get(Plex, { name: `${volume}.p0` }).catch(() => undefined), `plex of ${volume}`)

/** Says what an agent says that has copied everything: fake drives cannot be copied from. */
async function copied(volume: string): Promise<void> {
  const { metadata } = await plexOf(volume)
  await fixture.nodes.get('n2')!.agent.stop()
  const madeAt = new Date().toISOString()
  const status = { state: 'Up', generation: metadata.generation, size: 8 * 2 ** 20, madeAt, progress: 1, snapshots: [] }
  await fixture.store.patch(Plex, metadata, { status }, { subresource: 'status' })
}

/** Nothing is left of what was taken for clones. */
async function expectOnlySource(): Promise<void> {
  await eventually(async () => {
    const { items } = await fixture.store.list(Snapshot)
    return items.length === 0 && (await fixture.pool('n1').list()).length === 1 ? true : undefined
  }, 'the snapshot for the clone to go')
  expect((await fixture.store.get(Volume, { name: 'v1' })).status?.phase).toBe('Available')
}

it('is copied from a snapshot when it is on another node, which goes when that is done', async () => {
  await cloneElsewhere('v2')
  const { spec } = await plexOf('v2')
  const [snapshot, ...others] = (await fixture.store.list(Snapshot)).items
  expect(others).toEqual([])
  expect(snapshot).toMatchObject({ metadata: { annotations: { [cloneAnnotation]: 'v2' } }, status: { phase: 'Ready' } })
  const source = { kind: 'Snapshot', uid: snapshot!.metadata.uid, nodeName: 'n1', driveName: 'n1.drive0' }
  expect(spec).toMatchObject({ nodeName: 'n2', source })
  await expect(fixture.store.delete(Volume, { name: 'v1' })).rejects.toThrow('in use by 1 unfinished clone: v2')
  await copied('v2')
  await fixture.volumeWhen('v2', ({ status }) => status?.phase === 'Available')
  await expectOnlySource()
})

it('takes its own space alone where it is copied to another drive', async () => {
  await fixture.availableVolume('large', { size: '24Mi', nodeNames: ['n1'] })
  await fixture.availableVolume('other', { size: '30Mi', nodeNames: ['n2'] })
  await fixture.createVolume('v2', { size: '24Mi', source: { volumeName: 'large' }, nodeNames: ['n2'] })
  expect(await plexOf('v2')).toMatchObject({ spec: { nodeName: 'n2', size: 24 * 2 ** 20 } })
})

it('counts twice where it shares blocks with its source: a clone that may not be elsewhere is refused', async () => {
  await fixture.availableVolume('large', { size: '24Mi', nodeNames: ['n1'] })
  await fixture.createVolume('v2', { size: '24Mi', source: { volumeName: 'large' }, nodeNames: ['n1'] })
  const refused = await fixture.volumeWhen('v2', ({ status }) => status?.code === 'Exhausted')
  expect(refused.status!.message).toContain('needs 48 MiB')
})

it('shares the blocks of its source, without a snapshot, where that has room', async () => {
  await fixture.availableVolume('v2', { source: { volumeName: 'v1' } })
  expect(await plexOf('v2')).toMatchObject({ spec: { nodeName: 'n1', source: { kind: 'Plex' } } })
  expect((await fixture.store.list(Snapshot)).items).toEqual([])
})

it('goes to another node by itself when the drive of its source cannot keep its floor', async () => {
  await fixture.createTier('gold', 30_000)
  await fixture.availableVolume('busy', { nodeNames: ['n1'], perfTierName: 'gold' })
  await fixture.createVolume('v2', { source: { volumeName: 'v1' }, perfTierName: 'gold' })
  expect((await plexOf('v2')).spec.nodeName).toBe('n2')
})

it('that is deleted while it is copied leaves nothing', async () => {
  await cloneElsewhere('v2')
  await plexOf('v2')
  await fixture.deleted(Volume, 'v2')
  await expectOnlySource()
  expect(await fixture.pool('n2').list()).toEqual([])
})

it('leaves nothing when control is killed between any two writes, whether it is wanted still or not', async () => {
  for (let writes = 0; writes < 8; writes += 1) {
    const name = `clone${writes}`
    const mortal = new MortalStore(fixture.store)
    await fixture.restartControl(mortal)
    mortal.dieAfter(writes, writes % 2 === 0)
    await cloneElsewhere(name)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await fixture.restartControl()
    if (writes % 3 !== 0) await plexOf(name)
    await fixture.deleted(Volume, name)
    await expectOnlySource()
  }
})

it('says why its source cannot be copied, and leaves no snapshot when it is taken back', async () => {
  const pool = fixture.pool('n1')
  await fixture.availableVolume('large', { nodeNames: ['n1'], size: '48Mi' })
  const uid = await fixture.plexUid('v1')
  for (let block = 0; block < 8 * 16; block += 1) pool.write(uid, block, 'own')
  await cloneElsewhere('v2')
  const refused = await fixture.volumeWhen('v2', ({ status }) => status?.code !== undefined)
  expect(refused.status).toMatchObject({ phase: 'Pending', code: 'Exhausted' })
  expect(refused.status!.message).toContain('volume v1 cannot be copied to another drive: snapshot clone-')
  await fixture.deleted(Volume, 'v2')
  await eventually(async () => ((await fixture.store.list(Snapshot)).items.length === 0 ? true : undefined))
})
