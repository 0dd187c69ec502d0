import { closeSync, mkdirSync, openSync, readSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { CarbonadoError, Conflict, Expired, InvalidInput, Unavailable } from '../../base/index.ts'
import { checkPresent, damaged } from './damage.ts'
import { checkLog, closeWithLog } from './log-check.ts'

/** One row of the change log. `before` is the earlier selector view as JSON, where it differs from the body's. */
export interface ChangeRow {
  version: number
  kind: string
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'OPENED'
  body: string
  before: string | null
}

/** One stored object. */
export interface ObjectRow {
  kind: string
  key: string
  body: string
}

/** `CBND`: tells our files from other SQLite files. */
const applicationId = 0x43424e44
const schemaVersion = 2
/** The format before each row had a checksum; brought up to date when it is opened for writing. */
const formatWithoutSums = 1

/**
 * How far the version jumps on each opening. A power failure can take back what was not flushed (synchronous=normal);
 * versions that clients may have seen must then never be given to other changes. Far more than can be lost that way.
 */
const openingJump = 1_000_000

/** Rows by which the log may pass its limit: few enough that removing them is not felt. */
const forgottenAtOnce = 200

/** Bytes written to the log, about, after which it is brought into the file. */
export const checkpointBytes = 4 * 1024 * 1024
/** What a commit writes beside its rows: a few pages. */
const commitBytes = 12 * 1024

const schema = `
  CREATE TABLE objects
    (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, sum INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID;
  CREATE TABLE changes
    (version INTEGER PRIMARY KEY, kind TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, before TEXT, sum INTEGER);
  CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO facts VALUES ('forgotten', 0);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

const addSums = `
  ALTER TABLE objects ADD COLUMN sum INTEGER;
  ALTER TABLE changes ADD COLUMN sum INTEGER;
  UPDATE objects SET sum = sum_of_row(kind, key, body);
  UPDATE changes SET sum = sum_of_row(version, kind, type, body, before);
  PRAGMA user_version = ${schemaVersion};
`

/** The SQLite file under the embedded store: objects, the log of their changes, and the exclusive right to both. */
export class Database {
  readonly connection: DatabaseSync
  readonly #lock: DatabaseSync
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #rollback: StatementSync
  readonly #put: StatementSync
  readonly #remove: StatementSync
  readonly #log: StatementSync
  readonly #after: StatementSync
  readonly #has: StatementSync
  readonly #file: string
  readonly #logLimit: number
  #rows: number
  #sinceCheckpoint = 0
  /** Changes up to this version are no longer in the log. */
  forgotten: number
  /** Version of the last change. */
  version: number

  /** Opens or creates the file. Throws Conflict when another process has it, Internal when it is damaged. */
  constructor(file: string, logLimit: number) {
    this.#file = file
    this.#logLimit = logLimit
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    this.#lock = lockFile(`${file}.lock`)
    let connection: DatabaseSync | undefined
    try {
      checkPresent(file)
      checkLog(file)
      connection = openChecked(file)
      const prepare = connection.prepare.bind(connection)
      this.connection = connection
      this.#begin = prepare('BEGIN IMMEDIATE')
      this.#commit = prepare('COMMIT')
      this.#rollback = prepare('ROLLBACK')
      this.#put = prepare(
        'INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body, sum = excluded.sum',
      )
      this.#remove = prepare('DELETE FROM objects WHERE kind = ? AND key = ?')
      this.#log = prepare('INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)')
      this.#after = prepare('SELECT * FROM changes WHERE version > ? AND kind = ? ORDER BY version LIMIT ?')
      this.#has = prepare('SELECT 1 FROM changes WHERE version = ?')
      const log = prepare('SELECT max(version) AS last, count(*) AS rows FROM changes').get() as {
        last: number
        rows: number
      }
      this.#rows = log.rows
      this.forgotten = (prepare("SELECT value FROM facts WHERE name = 'forgotten'").get() as { value: number }).value
      this.version = log.last ?? 0
    } catch (error) {
      if (connection) closeWithLog(connection, file)
      this.#lock.close()
      throw whyNotOpened(file, error)
    }
  }

  /** To be called when all objects have been read, before any is written: a damaged file is left as it is. */
  beginWriting(): void {
    this.#run(() => jumpVersion(this.connection, this.version + openingJump))
    this.committed(this.version + openingJump)
  }

  /** Every stored object, in no particular order. Throws Internal when one is not as it was written. */
  *objects(): Iterable<ObjectRow> {
    const rows = this.connection.prepare('SELECT * FROM objects').iterate() as Iterable<ObjectRow & { sum: number }>
    for (const { sum, ...row } of rows) {
      if (sum !== sumOf(row.kind, row.key, row.body)) throw damaged(this.#file, `${row.kind} ${row.key} has changed`)
      yield row
    }
  }

  /** Runs `work` in a transaction: all of it or, when it throws, nothing. Throws Unavailable when the disk refuses. */
  transaction<T>(work: () => T): T {
    this.#run(() => this.#begin.run())
    try {
      const result = work()
      this.#commit.run()
      return result
    } catch (error) {
      if (this.connection.isTransaction) this.#rollback.run()
      throw asStoreError(error)
    }
  }

  /** Writes one change and its log row; only within `transaction`. */
  write(key: string, change: ChangeRow): void {
    const { version, kind, type, body, before } = change
    if (type === 'DELETED') this.#remove.run(kind, key)
    else this.#put.run(kind, key, body, sumOf(kind, key, body))
    this.#log.run(version, kind, type, body, before, sumOf(version, kind, type, body, before))
    this.#sinceCheckpoint += commitBytes + 2 * body.length
  }

  /**
   * Takes note of a committed change, and now and then forgets the oldest ones and brings the log into the file. Where
   * the disk refuses that, the change is committed all the same, and it is tried again with later ones.
   */
  committed(version: number): void {
    this.version = version
    this.#rows += 1
    try {
      if (this.#rows > this.#logLimit + forgottenAtOnce) this.#forget()
      if (this.#sinceCheckpoint > checkpointBytes) this.#checkpoint()
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
    }
  }

  /** Whether a watch can go on after this version without missing a change. */
  remembers(version: number): boolean {
    return version === this.version || version === this.forgotten || this.#has.get(version) !== undefined
  }

  /** The first `limit` changes of a kind after a version. */
  changesAfter(version: number, kind: string, limit: number): ChangeRow[] {
    const rows = this.#after.all(version, kind, limit) as unknown as (ChangeRow & { sum: number })[]
    return rows.map(({ sum, ...row }) => {
      if (sum === sumOf(row.version, row.kind, row.type, row.body, row.before)) return row
      throw new Expired(`The record of change ${row.version} is damaged`, { remedy: 'List again.' })
    })
  }

  close(): void {
    closeWithLog(this.connection, this.#file)
    this.#lock.close()
  }

  /** Not by SQLite itself: a checkpoint that fails would make the commit before it look as if it had failed. */
  #checkpoint(): void {
    this.#sinceCheckpoint = checkpointBytes * 0.9 // not with every commit when it fails
    this.#run(() => this.connection.exec('PRAGMA wal_checkpoint(PASSIVE)'))
    this.#sinceCheckpoint = 0
  }

  #forget(): void {
    const surplus = this.#rows - this.#logLimit
    let forgotten = this.forgotten
    this.transaction(() => {
      const row = this.connection
        .prepare('SELECT version FROM changes ORDER BY version LIMIT 1 OFFSET ?')
        .get(surplus - 1) as { version: number }
      this.connection.prepare('DELETE FROM changes WHERE version <= ?').run(row.version)
      this.connection.prepare("UPDATE facts SET value = ? WHERE name = 'forgotten'").run(row.version)
      forgotten = row.version
    })
    this.forgotten = forgotten
    this.#rows -= surplus
  }

  #run(work: () => void): void {
    try {
      work()
    } catch (error) {
      throw asStoreError(error)
    }
  }
}

/** Makes `version`, or a later one, the last of the log, so that earlier ones are never given out again. */
export function jumpVersion(connection: DatabaseSync, version: number): void {
  const { last } = connection.prepare('SELECT coalesce(max(version), 0) AS last FROM changes').get() as { last: number }
  connection
    .prepare("INSERT INTO changes VALUES (?, '', 'OPENED', '', NULL, NULL)")
    .run(Math.max(version, last + openingJump))
}

/** Checksum of a row: SQLite itself does not notice when the disk gives back other text than it was given. */
function sumOf(...columns: (string | number | null)[]): number {
  return crc32(columns.map((column) => (column === null ? '\u0001' : String(column))).join('\0'))
}

/** Opens a store file and checks that it is whole and ours; a new file gets the schema. Throws Internal, InvalidInput. */
export function openChecked(file: string, readOnly = false): DatabaseSync {
  let connection: DatabaseSync | undefined
  try {
    connection = new DatabaseSync(file, { readOnly, timeout: 5000 })
    checkWhole(connection, file)
    if (!readOnly) prepareForWriting(connection)
    return connection
  } catch (error) {
    if (readOnly) connection?.close()
    else if (connection) closeWithLog(connection, file)
    throw whyNotOpened(file, error)
  }
}

function whyNotOpened(file: string, error: unknown): unknown {
  if (error instanceof CarbonadoError) return error
  if (resultCode(error) === readOnlyFile && !canBeWritten(file)) {
    return damaged(file, 'its header says that this program may not write it', error)
  }
  return isDiskError(error) ? asStoreError(error) : damaged(file, (error as Error).message, error)
}

/** The file format write version of a header, which is 1 or 2: SQLite only reads files of others (fileformat2, 1.3.3). */
function canBeWritten(file: string): boolean {
  const descriptor = openSync(file, 'r')
  try {
    const version = Buffer.alloc(1)
    readSync(descriptor, version, 0, 1, 18)
    return [1, 2].includes(version[0]!)
  } finally {
    closeSync(descriptor)
  }
}

function checkWhole(connection: DatabaseSync, file: string): void {
  const pragma = (name: string): unknown => Object.values(connection.prepare(`PRAGMA ${name}`).get() ?? {})[0]
  const found = pragma('quick_check(1)')
  if (found !== 'ok') throw damaged(file, String(found))
  const tables = (connection.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as { n: number }).n
  if (tables === 0) return
  if (pragma('application_id') !== applicationId) {
    throw new InvalidInput(`${file} is a SQLite file, but not a Carbonado store`, {
      remedy: 'Correct dataDirectory, or move the file away.',
    })
  }
  if (![formatWithoutSums, schemaVersion].includes(pragma('user_version') as number)) {
    throw new InvalidInput(
      `${file} has store format ${pragma('user_version')}, this program reads format ${schemaVersion}`,
      { remedy: 'Use the version of Carbonado that wrote the file, or restore a backup of the right format.' },
    )
  }
}

function prepareForWriting(connection: DatabaseSync): void {
  connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
  // Fails where SQLite took the file for one that may only be read, of which it tells nobody before.
  connection.exec(`BEGIN; PRAGMA application_id = ${applicationId}; ROLLBACK`)
  const tables = (connection.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as { n: number }).n
  if (tables === 0) return connection.exec(`BEGIN; ${schema} COMMIT`)
  const { user_version: format } = connection.prepare('PRAGMA user_version').get() as { user_version: number }
  if (format !== formatWithoutSums) return
  connection.function('sum_of_row', { deterministic: true, varargs: true }, (...columns) =>
    sumOf(...(columns as (string | number | null)[])),
  )
  connection.exec(`BEGIN; ${addSums} COMMIT`)
}

/** Takes a lock that the kernel takes back when the process dies: a transaction held open on a file of its own. */
export function lockFile(file: string): DatabaseSync {
  const lock = new DatabaseSync(file, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    if (!isBusy(error)) throw asStoreError(error)
    throw new Conflict(`The store ${file.replace(/\.lock$/, '')} is in use by another process`, {
      remedy: 'Stop the other control process, or give this one a dataDirectory of its own.',
      cause: error,
    })
  }
}

function resultCode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: string; errcode?: number }
  return code === 'ERR_SQLITE_ERROR' && errcode !== undefined ? errcode & 0xff : undefined
}

/** SQLITE_READONLY. */
const readOnlyFile = 8

/** SQLITE_BUSY. */
function isBusy(error: unknown): boolean {
  return resultCode(error) === 5
}

/** SQLITE_PERM, BUSY, READONLY, IOERR, FULL, CANTOPEN: these say nothing about what is in the file. */
function isDiskError(error: unknown): boolean {
  return [3, 5, 8, 10, 13, 14].includes(resultCode(error) ?? 0)
}

function asStoreError(error: unknown): unknown {
  const code = resultCode(error)
  if (code === undefined) return error
  const [remedy, reason] = meaningOf(code)
  const details = reason === undefined ? {} : { reason }
  return new Unavailable(`The store cannot write: ${(error as Error).message}`, { remedy, details, cause: error })
}

/** What to do about a result code of SQLite (sqlite.org/rescode.html). */
function meaningOf(code: number): [remedy: string, reason?: string] {
  if (code === 13) return ['Make space on the disk under dataDirectory; control then goes on.', 'InsufficientStorage']
  if (code === 11 || code === 26) {
    return ['The file is damaged: stop control, keep a copy of dataDirectory, and restore the last backup.']
  }
  return ['Check whether the disk under dataDirectory is healthy and writable; control then goes on.']
}
