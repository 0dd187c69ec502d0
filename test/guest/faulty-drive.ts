import { execFileSync } from 'node:child_process'

/** A drive that can be made to fail: a part of another one, behind a table of device mapper that is exchanged. */
export class FaultyDrive {
  readonly path: string
  readonly #name: string
  readonly #sectors: number
  readonly #below: string

  constructor(name: string, below: string, bytes: number) {
    execFileSync('modprobe', ['-a', 'dm-mod', 'dm-flakey'])
    this.path = `/dev/mapper/${name}`
    this.#name = name
    this.#sectors = bytes / 512
    this.#below = below
    execFileSync('dmsetup', ['create', name, '--table', this.#linear])
  }

  /** Every read and write fails. */
  fail(): void {
    this.#load(`0 ${this.#sectors} error`)
  }

  /** Writes fail, reads do not. */
  failWrites(): void {
    this.#load(`0 ${this.#sectors} flakey ${this.#below} 0 0 3600 1 error_writes`)
  }

  /** It works again, with what is on it. */
  work(): void {
    this.#load(this.#linear)
  }

  remove(): void {
    execFileSync('dmsetup', ['remove', '--retry', this.#name])
    execFileSync('blkdiscard', ['--force', this.#below])
  }

  get #linear(): string {
    return `0 ${this.#sectors} linear ${this.#below} 0`
  }

  #load(table: string): void {
    execFileSync('dmsetup', ['suspend', '--noflush', '--nolockfs', this.#name])
    execFileSync('dmsetup', ['reload', this.#name, '--table', table])
    execFileSync('dmsetup', ['resume', this.#name])
  }
}
