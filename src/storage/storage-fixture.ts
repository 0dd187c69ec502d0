import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Drive, Node, PerfTier, Plex, Snapshot, Volume, type Calibration } from '../api/index.ts'
import { NotFound, silentLogger } from '../base/index.ts'
import { EmbeddedStore, type Admit, type ResourceStore } from '../store/index.ts'
import type { BlockDevice } from './agent/block-device.ts'
import { MortalStore } from '../store/mortal-store.ts'
import { StorageAgent } from './agent/index.ts'
import { startStorageControllers, storageAdmission, type StorageControllers } from './control.ts'
import { createFakeDrive, FakePool, FakePoolFormat, type FakeDrive } from './fake-pool.ts'

/** Bytes of a drive of the fixture, unless told. */
export const driveBytes = 64 * 2 ** 20

/** What the fixture's drives can do. */
export const calibration: Calibration = {
  readIops: 100_000,
  writeIops: 50_000,
  readBandwidth: 1e9,
  writeBandwidth: 1e9,
  measuredAt: '2026-01-01T00:00:00.000Z',
}

/** A node of the fixture: a fake drive, and an agent that may be killed. */
export interface FixtureNode {
  name: string
  drive: FakeDrive
  /** Path of the drive; gone from the machine while `isUnplugged`. */
  device: string
  isUnplugged: boolean
  /** What the machine says of the device beside its size, or instead. */
  facts?: Partial<BlockDevice>
  agent: StorageAgent
}

/** Store, storage controllers and agents with fake pools, all in this process; for tests. */
export class StorageFixture implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-storage-'))
  readonly store: EmbeddedStore
  readonly nodes = new Map<string, FixtureNode>()
  controllers!: StorageControllers

  constructor(admit: Admit = storageAdmission) {
    this.store = new EmbeddedStore({ file: join(this.#folder, 'store.db'), admit, syncEveryWrite: false })
  }

  /** A fixture with the controllers running and these nodes, whose drives are formatted. */
  static async start(...nodeNames: string[]): Promise<StorageFixture> {
    const fixture = new StorageFixture()
    fixture.controllers = await startStorageControllers(fixture.store, { logger: silentLogger() })
    for (const name of nodeNames) {
      await fixture.addNode(name)
      await fixture.format(`${name}.drive0`)
    }
    return fixture
  }

  /** Adds a Ready node with its agent. */
  async addNode(name: string, bytes = driveBytes): Promise<FixtureNode> {
    await this.store.create(Node, {
      metadata: { name },
      spec: { uplinks: { pods: { interface: 'eth0', rate: '1G' } }, maximumInterfaces: 100 },
    })
    const capacity = { bandwidth: { promised: 0, total: 1 }, interfaces: { promised: 0, total: 1 } }
    await this.store.patch(Node, { name }, { status: { capacity } }, { subresource: 'status' })
    await this.setReady(name, true)
    const node = { name, drive: createFakeDrive(bytes), device: `/dev/${name}/drive0`, isUnplugged: false }
    const agent = this.startAgent(node)
    this.nodes.set(name, { ...node, agent })
    return this.nodes.get(name)!
  }

  /** A folder of the fixture's own. */
  folderOf(name: string): string {
    return join(this.#folder, name)
  }

  async setReady(name: string, state: boolean): Promise<void> {
    const ready = { state, reason: 'Test', message: 'as the test says', since: new Date().toISOString() }
    await this.store.patch(Node, { name }, { status: { ready } }, { subresource: 'status' })
  }

  /** An agent over what is on a drive; `store` is what it sees of the store. */
  startAgent(node: Omit<FixtureNode, 'agent'>, store: ResourceStore = this.store): StorageAgent {
    const agent = new StorageAgent({
      nodeName: node.name,
      store,
      formats: [new FakePoolFormat(new Map([[node.device, node.drive]]))],
      devices: () => Promise.resolve([node.device]),
      inspect: (device) => {
        const { isUnplugged, facts } = this.nodes.get(node.name) ?? node
        if (isUnplugged) return Promise.reject(new NotFound(`there is no ${device}`))
        return Promise.resolve({ device, node: device, size: node.drive.capacity, found: [], ...facts })
      },
      calibrate: () => Promise.resolve(calibration),
      growFilesystem: () => Promise.resolve(),
      publishFolder: this.folderOf(node.name),
      fetchBlocks: () => Promise.reject(new NotFound('fake drives have no devices to copy')),
      logger: silentLogger(),
    })
    agent.start()
    return agent
  }

  /** Stops the agent of a node and starts another one over the same drive. */
  async restartAgent(name: string): Promise<void> {
    const node = this.nodes.get(name)!
    await node.agent.stop()
    node.agent = this.startAgent(node)
  }

  async restartControl(store: ResourceStore = this.store): Promise<void> {
    await this.controllers.stop()
    this.controllers = await startStorageControllers(store, { logger: silentLogger() })
  }

  /** Asks for a pool and waits for it. */
  async format(name: string, requestId = `request-of-${name}`): Promise<void> {
    await eventually(() => this.store.get(Drive, { name }).catch(() => undefined))
    await this.store.patch(Drive, { name }, { spec: { format: { requestId } } })
    await eventually(async () => {
      const { status } = await this.store.get(Drive, { name })
      return status?.agent?.state === 'Ready' && status.agent.requestId === requestId ? true : undefined
    })
  }

  createVolume(name: string, spec: Partial<Volume['spec']> = {}): Promise<Volume> {
    return this.store.create(Volume, { metadata: { name }, spec: { size: '8Mi', mirrorCount: 1, ...spec } })
  }

  createTier(name: string, storageIops: number): Promise<PerfTier> {
    return this.store.create(PerfTier, { metadata: { name }, spec: { storageIops } })
  }

  /** Creates a volume and waits until it is Available. */
  async availableVolume(name: string, spec: Partial<Volume['spec']> = {}): Promise<Volume> {
    await this.createVolume(name, spec)
    return this.volumeWhen(name, ({ status }) => status?.phase === 'Available')
  }

  /** A volume as soon as a condition holds. */
  volumeWhen(name: string, holds: (volume: Volume) => boolean): Promise<Volume> {
    return eventually(async () => {
      const volume = await this.store.get(Volume, { name })
      return holds(volume) ? volume : undefined
    }, `volume ${name}`)
  }

  /** Takes a snapshot and waits until it is Ready or Failed. */
  async snapshot(name: string, volumeName: string): Promise<Snapshot> {
    await this.store.create(Snapshot, { metadata: { name }, spec: { volumeName } })
    return eventually(async () => {
      const snapshot = await this.store.get(Snapshot, { name })
      return snapshot.status?.phase === 'Ready' || snapshot.status?.phase === 'Failed' ? snapshot : undefined
    }, `snapshot ${name}`)
  }

  /** Deletes an object and waits until it is gone. */
  async deleted(kind: typeof Volume | typeof Snapshot, name: string): Promise<void> {
    await this.store.delete(kind as typeof Volume, { name })
    await eventually(async () => {
      const found = await this.store.get(kind as typeof Volume, { name }).catch(() => undefined)
      return found === undefined ? true : undefined
    }, `${kind.kind} ${name} to be gone`)
  }

  /** The pool of a node, to write and read as users of its volumes would. */
  pool(node: string): FakePool {
    return new FakePool(this.nodes.get(node)!.drive)
  }

  async plexUid(volumeName: string): Promise<string> {
    return (await this.store.get(Plex, { name: `${volumeName}.p0` })).metadata.uid!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { agent } of this.nodes.values()) await agent.stop()
    await this.controllers?.stop()
    await this.store.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A store whose deletes are on their way until `release`; `begun` resolves when the first one is. */
export function slowDelete(store: ResourceStore): { store: ResourceStore; begun: Promise<void>; release: () => void } {
  const [sent, arrived] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const slow = Object.assign(new MortalStore(store), {
    delete: async (...parameters: Parameters<ResourceStore['delete']>) => {
      sent.resolve()
      await arrived.promise
      return store.delete(...parameters)
    },
  })
  return { store: slow as ResourceStore, begun: sent.promise, release: arrived.resolve }
}

/** Asks again and again until the answer is not undefined; fails after twenty seconds. */
export async function eventually<T>(ask: () => T | undefined | Promise<T | undefined>, what = 'it'): Promise<T> {
  const deadline = performance.now() + 20_000
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) throw new Error(`${what} did not happen within twenty seconds`)
    await pause(5)
  }
}
