import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Lab } from '../../lab/index.ts'

/** Where libfaketime looks for the difference; nodes have a /run of their own, control has the host's. */
const differenceFile = '/run/carbonado-lab-clock'

/**
 * Wall clocks of the lab's machines that can be set. A namespace cannot have a wall clock of its own, so every program
 * that is started from now on asks libfaketime; clocks that never jump stay as they are.
 */
export class MachineClocks implements Disposable {
  readonly #lab: Lab
  readonly #before = { ...process.env }

  constructor(lab: Lab) {
    this.#lab = lab
    const settings = { FAKETIME_TIMESTAMP_FILE: differenceFile, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' }
    Object.assign(process.env, settings, { DONT_FAKE_MONOTONIC: '1', LD_PRELOAD: findLibrary() })
  } // prettier-ignore

  /** Sets the clock of a machine, a node or `control`, this many hours off. */
  async set(machine: string, hours: number): Promise<void> {
    const text = `${hours < 0 ? '-' : '+'}${Math.abs(hours)}h\n`
    if (machine === 'control') return writeFileSync(differenceFile, text)
    await this.#lab.nodeExec(machine, ['sh', '-c', `echo '${text.trim()}' > ${differenceFile}`])
  }

  [Symbol.dispose](): void {
    for (const name of Object.keys(process.env)) if (!(name in this.#before)) delete process.env[name]
    Object.assign(process.env, this.#before)
    rmSync(differenceFile, { force: true })
  }
}

function findLibrary(): string {
  const folders = readdirSync('/usr/lib').filter((name) => name.endsWith('-linux-gnu'))
  const library = folders.map((name) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path))
  if (library) return library
  throw new Error('libfaketime is not installed; run: make setup')
}
