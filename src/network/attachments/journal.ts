import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { Conflict, Internal, Unavailable, type Logger } from '../../base/index.ts'
import type { AttachRequest } from '../engine.ts'
import type { AddRequest } from './wish.ts'

/**
 * - `attaching`: control has allocated; the engine may have begun; nobody was told.
 * - `attached`: the engine is done; the runtime may have been told.
 * - `found`: the kernel has it and no journal knew; it is adopted or removed once the store can be asked.
 * - `removing`: must go; the engine may have begun.
 * - `detached`: the datapath is gone; the store does not know yet.
 */
export type JournalState = 'attaching' | 'attached' | 'found' | 'removing' | 'detached'

/** What the agent knows of one endpoint on this node. */
export interface JournalRecord {
  state: JournalState
  /** uid of the Endpoint object. */
  endpointId: string
  namespace: string
  name: string
  containerId: string
  interfaceName: string
  /** Network of the endpoint; empty while only the kernel is known. */
  networkName: string
  /** Name of the CNI network configuration; absent when the endpoint was adopted and nothing tells. */
  cniNetwork?: string
  request: AttachRequest
  /** Of a child: the interface of the same container that it comes and goes with. */
  primaryInterface?: string
  /** The ADD that asked for it; absent for children and when adopted. */
  add?: AddRequest
  /** Facts from the engine, once attached. */
  hostInterface?: string
  mtu?: number
  /** When it was attached, ISO 8601. */
  since?: string
}

/**
 * The agent's memory of its endpoints. Writes are synchronous and survive the death of the process; what the death of
 * the machine takes with it is found again by comparing kernel and store, so no write waits for the disk.
 */
export interface Journal {
  /** Whether the records were written in an earlier boot: then nothing of them is attached any more. */
  readonly isFromEarlierBoot: boolean
  get(endpointId: string): JournalRecord | undefined
  all(): JournalRecord[]
  put(record: JournalRecord): void
  /** Writes all of them or, when the process dies meanwhile, none. */
  putAll(records: JournalRecord[]): void
  delete(endpointId: string): void
  /** From now on the records are those of this boot. */
  confirmBoot(): void
  close(): void
}

/** Where the journal is and in which boot. */
export interface JournalOptions {
  file: string
  /** `currentBootId()` unless a test says otherwise. */
  bootId: string
  logger: Logger
}

/**
 * Opens or makes the journal. A damaged file is moved aside and an empty journal begun: kernel and store tell what is
 * attached. Throws Conflict when another agent has the file, Unavailable when the disk refuses.
 */
export function openJournal(options: JournalOptions): Journal {
  mkdirSync(dirname(options.file), { recursive: true })
  try {
    return new SqliteJournal(options)
  } catch (error) {
    if (isLocked(error)) {
      throw new Conflict(`the journal ${options.file} is in use by another process`, {
        remedy: 'Stop the other agent of this node first.',
        cause: error,
      })
    }
    if (isDiskError(error)) throw notWritable(error)
    const aside = `${options.file}.damaged-${Date.now()}`
    options.logger.error({ err: error, aside }, 'the journal is damaged; it is rebuilt from kernel and store')
    renameSync(options.file, aside)
    for (const suffix of ['-wal', '-shm']) rmSync(options.file + suffix, { force: true })
    return new SqliteJournal(options)
  }
}

function isLocked(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === 5
}

/** SQLITE_PERM, READONLY, IOERR, FULL, CANTOPEN: these say nothing about what is in the file. */
function isDiskError(error: unknown): boolean {
  const { errcode = 0 } = error as { errcode?: number }
  return [3, 8, 10, 13, 14].includes(errcode & 0xff)
}

function notWritable(error: unknown): Unavailable {
  return new Unavailable(`the agent's journal cannot be written: ${(error as Error).message}`, {
    remedy: 'Make space on the disk under stateDirectory and check that it is healthy; then try again.',
    cause: error,
  })
}

const schema = `
  pragma locking_mode = exclusive;
  pragma journal_mode = wal;
  pragma synchronous = normal;
  pragma wal_autocheckpoint = 0;
  create table if not exists record (endpoint_id text primary key, body text not null) strict, without rowid;
  create table if not exists setting (name text primary key, value text not null) strict, without rowid;
`

/** Writes after which the log is brought into the file; a few hundred kilobytes. */
const writesPerCheckpoint = 200

/** A record behind its checksum: SQLite itself does not notice when the disk gives back other text than it was given. */
function encode(record: JournalRecord): string {
  const body = JSON.stringify(record)
  return `${crc32(body)} ${body}`
}

/** Reads what `encode` wrote; a record of a version before has no checksum. Throws Internal when it has changed. */
function decode(text: string): JournalRecord {
  const [, sum, body = text] = /^(\d+) (.*)$/s.exec(text) ?? []
  if (sum !== undefined && Number(sum) !== crc32(body)) throw new Internal('the journal has a record that has changed')
  return JSON.parse(body) as JournalRecord
}

class SqliteJournal implements Journal {
  readonly isFromEarlierBoot: boolean
  readonly #database: DatabaseSync
  readonly #bootId: string
  readonly #records = new Map<string, JournalRecord>()
  #writes = 0
  readonly #write
  readonly #erase

  constructor({ file, bootId }: JournalOptions) {
    this.#bootId = bootId
    this.#database = new DatabaseSync(file)
    try {
      this.#database.exec(schema)
      this.#database.exec('begin immediate; commit') // takes the lock now, not at the first write
      const { quick_check: found } = this.#database.prepare('pragma quick_check(1)').get() as { quick_check: string }
      if (found !== 'ok') throw new Internal(`the journal is damaged: ${found}`)
      for (const row of this.#database.prepare('select body from record').all()) this.#load(String(row.body))
      const boot = this.#database.prepare(`select value from setting where name = 'boot'`).get()
      this.isFromEarlierBoot = boot !== undefined && boot.value !== bootId
      this.#write = this.#database.prepare('insert or replace into record (endpoint_id, body) values (?, ?)')
      this.#erase = this.#database.prepare('delete from record where endpoint_id = ?')
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  get(endpointId: string): JournalRecord | undefined {
    return this.#records.get(endpointId)
  }

  all(): JournalRecord[] {
    return [...this.#records.values()]
  }

  put(record: JournalRecord): void {
    this.#run(() => this.#write.run(record.endpointId, encode(record)))
    this.#records.set(record.endpointId, Object.freeze({ ...record }))
  }

  putAll(records: JournalRecord[]): void {
    if (records.length === 1) return this.put(records[0]!)
    this.#run(() =>
      this.#inOneTransaction(() => records.forEach((each) => this.#write.run(each.endpointId, encode(each)))),
    )
    for (const record of records) this.#records.set(record.endpointId, Object.freeze({ ...record }))
  }

  delete(endpointId: string): void {
    this.#run(() => this.#erase.run(endpointId))
    this.#records.delete(endpointId)
  }

  confirmBoot(): void {
    const statement = this.#database.prepare(`insert or replace into setting (name, value) values ('boot', ?)`)
    this.#run(() => statement.run(this.#bootId))
  }

  close(): void {
    this.#database.close()
  }

  #inOneTransaction(write: () => void): void {
    this.#database.exec('begin immediate')
    try {
      write()
      this.#database.exec('commit')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback')
      throw error
    }
  }

  /** A write, and now and then a checkpoint; by hand, since SQLite would say that a write failed when it did not. */
  #run(write: () => void): void {
    try {
      write()
    } catch (error) {
      throw notWritable(error)
    }
    if (++this.#writes % writesPerCheckpoint !== 0) return
    try {
      this.#database.exec('pragma wal_checkpoint(passive)')
    } catch {
      // the log keeps what was written; it is tried again later
    }
  }

  #load(text: string): void {
    const record = decode(text)
    if (!record.endpointId || !record.request) throw new Internal('the journal has a record of unknown shape')
    this.#records.set(record.endpointId, Object.freeze(record))
  }
}
