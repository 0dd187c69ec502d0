import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { artefacts } from '../../lab/places.ts'
import { exec, execJson } from '../../src/base/index.ts'
import { findCgroupIo, removeStaleLimits } from '../../src/storage/io-limits/index.ts'

/** Loop devices that share one drive of a known speed, as the volumes of a pool do. */
export class PacedLoops implements AsyncDisposable {
  readonly devices: string[]
  readonly #folder: string
  readonly #drive: ChildProcess

  private constructor(folder: string, drive: ChildProcess, devices: string[]) {
    this.#folder = folder
    this.#drive = drive
    this.devices = devices
  }

  /** Makes `count` devices of so many bytes each on a drive that gives so many operations per second. */
  static async make(count: number, iops: number, bytes = 64 * 2 ** 20): Promise<PacedLoops> {
    const folder = mkdtempSync(join(tmpdir(), 'carbonado-paced-'))
    const mounted = join(folder, 'mount')
    mkdirSync(mounted)
    const words = [String(count * bytes), mounted, String(iops), String(iops * 65_536)]
    const drive = spawn(artefacts.pacedDrive, words, { stdio: ['ignore', 'inherit', 'inherit'] })
    const file = join(mounted, 'drive')
    for (const end = performance.now() + 30_000; !existsSync(file); await sleep(5)) {
      if (performance.now() > end || drive.exitCode !== null) throw new Error('the paced drive did not start')
    }
    const devices: string[] = []
    const loops = new PacedLoops(folder, drive, devices)
    for (let index = 0; index < count; index++) {
      const part = [`--offset=${index * bytes}`, `--sizelimit=${bytes}`]
      const { stdout } = await exec(['losetup', '--find', '--show', '--direct-io=on', ...part, file])
      devices.push(stdout.trim())
    }
    return loops
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.devices) await exec(['losetup', '--detach', device])
    removeStaleLimits(findCgroupIo()!) // a guarantee that is stopped leaves caps
    await exec(['umount', '--lazy', join(this.#folder, 'mount')])
    // whoever has made a mount namespace meanwhile has a copy of the mount, and would keep it going
    if (this.#drive.exitCode === null && this.#drive.kill('SIGKILL')) await once(this.#drive, 'exit')
    rmSync(this.#folder, { recursive: true })
  }
}

interface FioReport {
  jobs: { read: { iops: number }; write: { iops: number } }[]
}

/** Runs fio on a device from within a cgroup, which is made; reads and writes per second. */
export async function fioIn(
  cgroup: string,
  device: string,
  options: string[],
  seconds: number,
): Promise<{ read: number; write: number }> {
  const command = fioCommand(cgroup, device, ['--output-format=json', ...options], seconds)
  const report = await execJson<FioReport>(command, { deadline: 60_000 })
  const { read, write } = report!.jobs[0]!
  return { read: read.iops, write: write.iops }
}

/** Keeps fio running on a device from within a cgroup, which is made, until it is disposed of. */
export class LastingLoad implements AsyncDisposable {
  readonly #fio: ChildProcess

  constructor(cgroup: string, device: string, options: string[]) {
    // with its jobs as threads it is one process, which one signal ends
    const [file, ...words] = fioCommand(cgroup, device, ['--thread', ...options], 600)
    this.#fio = spawn(file, words, { stdio: ['ignore', 'ignore', 'inherit'] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fio.exitCode === null && this.#fio.kill('SIGKILL')) await once(this.#fio, 'exit')
  }
}

function fioCommand(cgroup: string, device: string, options: string[], seconds: number): [string, ...string[]] {
  mkdirSync(cgroup, { recursive: true })
  const join = 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"'
  const common = ['--name=load', `--filename=${device}`, '--ioengine=libaio', '--bs=4k']
  return ['sh', '-c', join, 'sh', cgroup, 'fio', ...common, '--time_based', `--runtime=${seconds}`, ...options]
}
