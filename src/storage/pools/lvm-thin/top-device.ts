import { existsSync } from 'node:fs'
import { Conflict, ExecError } from '../../../base/index.ts'
import { isReadOnly } from '../../device-number.ts'
import { dmsetup, mapperName } from './lvm.ts'

const sector = 512

/**
 * The device of an active entry that its users see: a linear one over the thin volume, which costs them nothing to speak
 * of. lvm freezes the filesystem on a volume before it takes a snapshot, which first writes out all that is dirty and
 * holds writers as long as that takes, and it holds only one volume at a time. It does that to the volume below, where
 * there is no filesystem; the writers are held here, of as many volumes as are wanted, for the instant.
 */
export class TopDevice {
  readonly devicePath: string
  readonly #name: string
  readonly #below: string

  constructor(group: string, volume: string) {
    this.#name = mapperName(group, volume, '-top')
    this.devicePath = `/dev/mapper/${this.#name}`
    this.#below = `/dev/mapper/${mapperName(group, volume)}`
  }

  exists(): boolean {
    return existsSync(this.devicePath)
  }

  /** Makes it over the volume below, which is active. */
  async make({ size, readOnly }: { size: number; readOnly: boolean }): Promise<void> {
    await dmsetup('create', this.#name, ...(readOnly ? ['--readonly'] : []), '--table', this.#table(size))
  }

  /** Throws Conflict while it is open. */
  async remove(): Promise<void> {
    await dmsetup('remove', this.#name).catch((error: unknown) => {
      if (!(error instanceof ExecError) || !error.stderr.includes('busy')) throw error
      throw new Conflict(`${this.devicePath} is open`, { remedy: 'Unmount it or stop what uses it.', cause: error })
    })
  }

  /** Makes it as large as the volume below has become. */
  async grow(size: number): Promise<void> {
    const mode = isReadOnly(this.devicePath) ? ['--readonly'] : []
    await dmsetup('reload', this.#name, ...mode, '--table', this.#table(size))
    await this.hold()
    await this.release()
  }

  /** Holds all its reads and writes; its filesystem is not told. */
  async hold(): Promise<void> {
    await dmsetup('suspend', '--nolockfs', this.#name)
  }

  /** Lets them go on, with the table that was loaded meanwhile; nothing to do when they were not held. */
  async release(): Promise<void> {
    await dmsetup('resume', this.#name)
  }

  #table(size: number): string {
    return `0 ${size / sector} linear ${this.#below} 0`
  }
}
