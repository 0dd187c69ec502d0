import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Drive, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../api/index.ts'
import { CarbonadoError, silentLogger } from '../base/index.ts'
import { promisableIops, promisableSpace } from '../guarantee/index.ts'
import type { AdmissionRequest, SyncReader } from '../store/index.ts'
import { MortalStore } from '../store/mortal-store.ts'
import { startStorageControllers, storageAdmission } from './control.ts'
import { fakeBlockSize } from './fake-pool.ts'
import { calibration, driveBytes, eventually, StorageFixture } from './storage-fixture.ts'

const runs = 12
const stepsPerRun = 60

Error.stackTraceLimit = 4

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const snapshotName = fc.constantFrom('s1', 's2', 's3')
const node = fc.constantFrom('n1', 'n2')
const size = fc.constantFrom('1Mi', '4Mi', '9Mi', '20Mi', '40Mi')
const tier = fc.constantFrom(undefined, 'small', 'large')

/** What users, and what the fate of the programs, may do. */
const step = fc.oneof(
  {
    arbitrary: fc.record({ do: fc.constant('wait' as const), milliseconds: fc.integer({ min: 20, max: 150 }) }),
    weight: 5,
  },
  { arbitrary: fc.record({ do: fc.constant('fill' as const), node }), weight: 2 },
  fc.record({ do: fc.constant('create' as const), name, size, tier, node: fc.option(node) }),
  fc.record({
    do: fc.constant('clone' as const),
    name,
    source: name,
    snapshot: fc.option(snapshotName),
    node: fc.option(node),
  }),
  fc.record({ do: fc.constant('update' as const), name, size, tier }),
  fc.record({ do: fc.constant('delete' as const), name }),
  fc.record({ do: fc.constant('snapshot' as const), snapshot: snapshotName, name }),
  fc.record({ do: fc.constant('group' as const), one: name, other: name }),
  fc.record({ do: fc.constant('delete-group' as const) }),
  fc.record({ do: fc.constant('delete-snapshot' as const), snapshot: snapshotName }),
  fc.record({ do: fc.constant('restore' as const), name, snapshot: snapshotName }),
  fc.record({ do: fc.constant('attach' as const), name, node }),
  fc.record({ do: fc.constant('detach' as const), name }),
  fc.record({ do: fc.constant('kill-control' as const), writes: fc.nat(5), loseAnswer: fc.boolean() }),
  fc.record({ do: fc.constant('kill-agent' as const), node, writes: fc.nat(5), loseAnswer: fc.boolean() }),
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

class World implements AsyncDisposable {
  readonly fixture: StorageFixture
  /** What was ever promised too much, found inside the transactions that did it. */
  readonly faults: string[] = []
  #counter = 0

  constructor() {
    this.fixture = new StorageFixture((request, reader) => this.#admit(request, reader))
  }

  async start(): Promise<void> {
    this.fixture.controllers = await startStorageControllers(this.fixture.store, { logger: silentLogger() })
    for (const each of ['n1', 'n2']) {
      await this.fixture.addNode(each)
      await this.fixture.format(`${each}.drive0`)
    }
    await this.fixture.createTier('small', 5_000)
    await this.fixture.createTier('large', 25_000)
  }

  #admit(request: AdmissionRequest, reader: SyncReader): void {
    storageAdmission(request, reader)
    if (request.kind.kind !== Plex.kind || request.verb === 'delete') return
    const changed = request.object as Plex
    const others = reader.list(Plex).filter(({ metadata }) => metadata.name !== changed.metadata.name)
    const here = [...others, changed].filter(({ spec }) => spec.driveName === changed.spec.driveName)
    const sum = (value: (plex: Plex) => number): number => here.reduce((total, plex) => total + value(plex), 0)
    if (sum(({ spec }) => spec.iopsFloor) > promisableIops(calibration.writeIops)) this.faults.push('IOPS')
    if (sum(({ spec }) => spec.size) > promisableSpace(driveBytes)) this.faults.push('space')
  }

  /** Does a step; what is refused is part of the game. */
  async take(action: Step): Promise<void> {
    try {
      await this.#take(action)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code === 'Internal') throw error
    }
  }

  async #take(action: Step): Promise<unknown> {
    const { fixture } = this
    const { store } = fixture
    switch (action.do) {
      case 'create': {
        const { name: volume, size: bytes, tier: perfTierName, node: place } = action
        const nodeNames = place === null ? {} : { nodeNames: [place] }
        return fixture.createVolume(volume, { size: bytes, ...(perfTierName ? { perfTierName } : {}), ...nodeNames })
      }
      case 'clone': {
        const { snapshot, source, node: wanted } = action
        const from = snapshot === null ? { volumeName: source } : { snapshotName: snapshot }
        const plex = await store.get(Plex, { name: `${await this.#volumeOf(from)}.p0` })
        // a fake drive cannot be copied from, so a clone that goes elsewhere comes no further than that
        const nodeNames = [wanted ?? plex.spec.nodeName]
        return fixture.createVolume(action.name, { size: '40Mi', source: from, nodeNames })
      }
      case 'update':
        return store.patch(Volume, action, { spec: { size: action.size, perfTierName: action.tier ?? null } })
      case 'delete':
        return store.delete(Volume, { name: action.name })
      case 'snapshot':
        return store.create(Snapshot, { metadata: { name: action.snapshot }, spec: { volumeName: action.name } })
      case 'group': {
        const volumeNames = [...new Set([action.one, action.other])]
        return store.create(SnapshotGroup, { metadata: { name: 'g' }, spec: { volumeNames } })
      }
      case 'delete-group':
        return store.delete(SnapshotGroup, { name: 'g' })
      case 'delete-snapshot':
        return store.delete(Snapshot, { name: action.snapshot })
      case 'restore': {
        const restore = { snapshotName: action.snapshot, requestId: `r${++this.#counter}` }
        return store.patch(Volume, action, { spec: { restore } })
      }
      case 'attach': {
        const volume = await store.get(Volume, action)
        const spec = {
          volumeName: action.name,
          volumeUid: volume.metadata.uid!,
          nodeName: action.node,
          readOnly: false,
        }
        return store.create(VolumeAttachment, { metadata: { name: action.name }, spec })
      }
      case 'detach':
        return store.delete(VolumeAttachment, { name: action.name })
      case 'fill':
        return this.fill(action.node)
      case 'wait':
        return new Promise((resolve) => setTimeout(resolve, action.milliseconds))
      case 'kill-control':
        return this.#killControl(action)
      case 'kill-agent':
        return this.#killAgent(action)
    }
  }

  async #volumeOf(source: { volumeName: string } | { snapshotName: string }): Promise<string> {
    if ('volumeName' in source) return source.volumeName
    return (await this.fixture.store.get(Snapshot, { name: source.snapshotName })).spec.volumeName
  }

  /** Writes every block of every volume on a node anew: what was promised is there, whatever snapshots there are. */
  async fill(nodeName: string): Promise<void> {
    const pool = this.fixture.pool(nodeName)
    const text = `fill ${++this.#counter}`
    for (const { id, kind, size: bytes } of await pool.list()) {
      if (kind !== 'volume') continue
      try {
        for (let block = 0; block < bytes / fakeBlockSize; block += 1) pool.write(id, block, text)
      } catch (error) {
        this.faults.push(`a write failed: ${(error as Error).message}`)
      }
    }
  }

  async #killControl({ writes, loseAnswer }: { writes: number; loseAnswer: boolean }): Promise<void> {
    const { fixture } = this
    const mortal = new MortalStore(fixture.store)
    await fixture.restartControl(mortal)
    mortal.dieAfter(writes, loseAnswer)
    await new Promise((resolve) => setTimeout(resolve, 20))
    mortal.dieAfter(0, false)
    await fixture.restartControl()
  }

  async #killAgent(kill: { node: string; writes: number; loseAnswer: boolean }): Promise<void> {
    const { fixture } = this
    const place = fixture.nodes.get(kill.node)!
    await place.agent.stop()
    const mortal = new MortalStore(fixture.store)
    place.agent = fixture.startAgent(place, mortal)
    mortal.dieAfter(kill.writes, kill.loseAnswer)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await fixture.restartAgent(kill.node)
  }

  /** Takes everything away in order; nothing of it may be left. */
  async takeAllAway(): Promise<void> {
    const { store } = this.fixture
    const all = async (kind: typeof Volume): Promise<string[]> =>
      (await store.list(kind)).items
        .filter(({ metadata }) => !metadata.deletionTimestamp)
        .map(({ metadata }) => metadata.name)
    await eventually(async () => {
      for (const kind of [VolumeAttachment, SnapshotGroup, Snapshot, Volume]) {
        for (const each of await all(kind as never)) {
          await store.delete(kind as typeof Volume, { name: each }).catch((error: unknown) => {
            if (!(error instanceof CarbonadoError)) throw error // what is in use goes in the next round
          })
        }
      }
      const kinds = [VolumeAttachment, SnapshotGroup, Snapshot, Volume, Plex]
      const counts = await Promise.all(
        kinds.map(async (kind) => (await store.list(kind as typeof Volume)).items.length),
      )
      return counts.every((count) => count === 0) ? true : undefined
    }, 'everything to be gone')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]()
  }
}

it(
  'promises no drive twice, fills no pool and leaks nothing, whatever happens when',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: stepsPerRun }), async (steps) => {
        await using world = new World()
        await world.start()
        for (const each of steps) {
          await world.take(each)
          expect(world.faults).toEqual([])
        }
        for (const each of ['n1', 'n2']) await world.fill(each)
        expect(world.faults).toEqual([])
        await world.takeAllAway()
        for (const each of ['n1', 'n2']) {
          expect(await world.fixture.pool(each).list()).toEqual([])
          expect(await world.fixture.pool(each).active()).toEqual([])
          await eventually(async () => {
            const { status } = await world.fixture.store.get(Drive, { name: `${each}.drive0` })
            const { space, iops } = status?.capacity ?? {}
            return space?.promised === 0 && iops?.promised === 0 ? true : undefined
          }, 'all promises to be given back')
        }
      }),
      { numRuns: runs, endOnFailure: true },
    )
  },
)
