import { execFileSync } from 'node:child_process'
import { open } from 'node:fs/promises'

/**
 * A device over another that writes a log of all writes in the order in which they were safe from a power cut: those
 * before a flush only with that flush (dm-log-writes of the kernel).
 */
export class LoggedDrive {
  readonly path: string
  readonly #name: string
  readonly #log: string

  constructor(name: string, device: string, log: string) {
    const sectors = execFileSync('blockdev', ['--getsz', device], { encoding: 'utf8' }).trim()
    execFileSync('modprobe', ['dm-log-writes'])
    execFileSync('dmsetup', ['create', name, '--table', `0 ${sectors} log-writes ${device} ${log}`])
    this.path = `/dev/mapper/${name}`
    this.#name = name
    this.#log = log
  }

  /** Notes this moment in the log. */
  mark(name: string): void {
    execFileSync('dmsetup', ['message', this.#name, '0', 'mark', name])
  }

  /** Ends the log; nothing may have the device open. */
  remove(): void {
    execFileSync('dmsetup', ['remove', '--retry', this.#name])
  }

  /** Makes of an empty device what a power cut at the moment of the mark would have left of this one. */
  async replay(mark: string, device: string): Promise<void> {
    execFileSync('blockdev', ['--flushbufs', this.#log]) // what was read of it before the log was written
    await using log = await open(this.#log)
    await using target = await open(device, 'r+')
    for await (const entry of entries(log)) {
      if (entry.mark === mark) return target.sync()
      if (entry.data) await target.write(entry.data, 0, entry.data.length, entry.offset)
    }
    throw new Error(`there is no mark ${mark} in the log`)
  }
}

interface LogEntry {
  offset: number
  data?: Buffer
  mark?: string
}

const flag = { discard: 4, mark: 8 } as const

/** Reads struct log_write_super and each struct log_write_entry of drivers/md/dm-log-writes.c. */
async function* entries(log: Awaited<ReturnType<typeof open>>): AsyncGenerator<LogEntry> {
  const head = Buffer.alloc(512)
  await log.read(head, 0, head.length, 0)
  if (head.readBigUInt64LE(0) !== 0x6a736677736872n) throw new Error('there is no log on the device')
  const [count, sector] = [Number(head.readBigUInt64LE(16)), head.readUInt32LE(24)]
  let at = sector
  for (let index = 0; index < count; index++) {
    await log.read(head, 0, head.length, at)
    const [first, length, flags, bytes] = [0, 8, 16, 24].map((offset) => Number(head.readBigUInt64LE(offset)))
    at += sector
    if (flags! & flag.mark) yield { offset: 0, mark: head.toString('utf8', 32, 32 + bytes!).split('\0')[0] }
    else if (!(flags! & flag.discard) && length! > 0) {
      const data = Buffer.alloc(length! * sector)
      await log.read(data, 0, data.length, at)
      at += data.length
      yield { offset: first! * sector, data }
    }
  }
}
