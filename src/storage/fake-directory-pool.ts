import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Conflict, exec, execJson, NotFound } from '../base/index.ts'
import type { EntryUsage, Pool, PoolEntry, PoolFormat, PoolSpace } from './pool-format.ts'

/** Stand-in for a real pool format: files on ext4, snapshots by copying. For trying what stands above; not for data. */
export class DirectoryPoolFormat implements PoolFormat {
  readonly name = 'file'
  readonly #mounts: string

  constructor(mounts: string) {
    this.#mounts = mounts
  }

  async unsupportedReason(): Promise<undefined> {
    return undefined
  }

  async probe(device: string): Promise<string | undefined> {
    const { stdout } = await exec(['blkid', '-p', '-s', 'UUID', '-s', 'LABEL', '-o', 'export', device]).catch(() => ({
      stdout: '',
    }))
    if (!stdout.includes('LABEL=carbonado-dir')) return undefined
    return /^UUID=(.*)$/m.exec(stdout)?.[1]
  }

  async format(device: string, { id }: { id: string }): Promise<void> {
    await exec(['mkfs.ext4', '-q', '-F', '-m', '0', '-L', 'carbonado-dir', '-U', id, device], { deadline: 60_000 })
  }

  async open(device: string): Promise<Pool> {
    const id = await this.probe(device)
    if (!id) throw new NotFound(`${device} has no pool`)
    const folder = join(this.#mounts, id)
    mkdirSync(folder, { recursive: true })
    const isMounted = await exec(['mountpoint', '-q', folder]).then(
      () => true,
      () => false,
    )
    if (!isMounted) await exec(['mount', device, folder])
    for (const name of readdirSync(folder)) if (name.endsWith('.new')) rmSync(join(folder, name))
    return new DirectoryPool(id, folder)
  }
}

class DirectoryPool implements Pool {
  readonly format = 'file'
  readonly id: string
  readonly #folder: string

  constructor(id: string, folder: string) {
    this.id = id
    this.#folder = folder
  }

  async list(): Promise<PoolEntry[]> {
    return readdirSync(this.#folder)
      .filter((name) => /\.(volume|snapshot)$/.test(name))
      .map((name) => {
        const [id, kind] = name.split('.') as [string, 'volume' | 'snapshot']
        return { id, kind, size: statSync(join(this.#folder, name)).size }
      })
  }

  async space(): Promise<PoolSpace> {
    const { blocks, bfree, bsize } = statfsSync(this.#folder)
    return { capacity: blocks * bsize, used: (blocks - bfree) * bsize }
  }

  async usage(id: string): Promise<EntryUsage> {
    return { own: statSync(this.#path(id)).blocks * 512, shared: 0 }
  }

  async create({ id, size }: { id: string; size: number }): Promise<void> {
    if (this.#find(id)) return
    const path = join(this.#folder, `${id}.new`)
    writeFileSync(path, '')
    truncateSync(path, size)
    renameSync(path, join(this.#folder, `${id}.volume`))
  }

  async clone({ id, size, sourceId }: { id: string; size: number; sourceId: string }): Promise<void> {
    if (this.#find(id)) return
    const path = join(this.#folder, `${id}.new`)
    await exec(['cp', '--sparse=always', this.#path(sourceId), path], { deadline: 60_000 })
    truncateSync(path, size)
    renameSync(path, join(this.#folder, `${id}.volume`))
  }

  async snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    for (const { id, volumeId } of snapshots) {
      if (this.#find(id)) continue
      const path = join(this.#folder, `${id}.new`)
      await exec(['sync'])
      await exec(['cp', '--sparse=always', this.#path(volumeId), path], { deadline: 60_000 })
      renameSync(path, join(this.#folder, `${id}.snapshot`))
    }
  }

  async resize(id: string, size: number): Promise<void> {
    truncateSync(this.#path(id), size)
    const device = await this.#device(id)
    if (device) await exec(['losetup', '-c', device])
  }

  async restore(id: string, snapshotId: string): Promise<void> {
    if (await this.#device(id)) throw new Conflict(`${id} is active`)
    const path = join(this.#folder, `${id}.new`)
    await exec(['cp', '--sparse=always', this.#path(snapshotId), path], { deadline: 60_000 })
    renameSync(path, this.#path(id))
  }

  async delete(id: string): Promise<void> {
    if (await this.#device(id)) throw new Conflict(`${id} is active`)
    const path = this.#find(id)
    if (path) rmSync(path)
  }

  async activate(id: string, { readOnly }: { readOnly: boolean }): Promise<{ devicePath: string }> {
    const known = await this.#device(id)
    if (known) return { devicePath: known }
    const options = readOnly ? ['--read-only'] : []
    const { stdout } = await exec(['losetup', '--find', '--show', '--direct-io=on', ...options, this.#path(id)])
    return { devicePath: stdout.trim() }
  }

  async deactivate(id: string): Promise<void> {
    const device = await this.#device(id)
    if (!device) return
    const { stdout } = await exec(['findmnt', '-n', '-S', device]).catch(() => ({ stdout: '' }))
    if (stdout.trim()) throw new Conflict(`${device} is mounted`)
    await exec(['losetup', '--detach', device])
  }

  async active(): Promise<{ id: string; devicePath: string }[]> {
    const devices = await execJson<{ loopdevices: { name: string; 'back-file': string }[] }>([
      'losetup',
      '-J',
      '-O',
      'NAME,BACK-FILE',
    ])
    return (devices?.loopdevices ?? []).flatMap((device) => {
      if (!device['back-file']?.startsWith(`${this.#folder}/`)) return []
      return [{ id: device['back-file'].slice(this.#folder.length + 1).split('.')[0]!, devicePath: device.name }]
    })
  }

  async close(): Promise<void> {
    if ((await this.active()).length === 0) await exec(['umount', this.#folder]).catch(() => {})
  }

  async #device(id: string): Promise<string | undefined> {
    return (await this.active()).find((each) => each.id === id)?.devicePath
  }

  #find(id: string): string | undefined {
    return ['volume', 'snapshot'].map((kind) => join(this.#folder, `${id}.${kind}`)).find((path) => existsSync(path))
  }

  #path(id: string): string {
    const path = this.#find(id)
    if (!path) throw new NotFound(`the pool has no ${id}`)
    return path
  }
}
