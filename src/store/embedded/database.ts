import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Conflict, Internal, InvalidInput, Unavailable } from '../../base/index.ts'

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
const schemaVersion = 1

/**
 * How far the version jumps on each opening. A power failure can take back what was not flushed (synchronous=normal);
 * versions that clients may have seen must then never be given to other changes. Far more than can be lost that way.
 */
const openingJump = 1_000_000

/** Rows by which the log may pass its limit: few enough that removing them is not felt. */
const forgottenAtOnce = 200

const schema = `
  CREATE TABLE objects (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
  CREATE TABLE changes (version INTEGER PRIMARY KEY, kind TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, before TEXT);
  CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO facts VALUES ('forgotten', 0);
  PRAGMA application_id = ${applicationId};
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
  readonly #logLimit: number
  #rows: number
  /** Changes up to this version are no longer in the log. */
  forgotten: number
  /** Version of the last change. */
  version: number

  /** Opens or creates the file. Throws Conflict when another process has it, Internal when it is damaged. */
  constructor(file: string, logLimit: number) {
    this.#logLimit = logLimit
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    this.#lock = lockFile(`${file}.lock`)
    try {
      this.connection = openChecked(file)
    } catch (error) {
      this.#lock.close()
      throw error
    }
    const prepare = (sql: string): StatementSync => this.connection.prepare(sql)
    this.#begin = prepare('BEGIN IMMEDIATE')
    this.#commit = prepare('COMMIT')
    this.#rollback = prepare('ROLLBACK')
    this.#put = prepare('INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body')
    this.#remove = prepare('DELETE FROM objects WHERE kind = ? AND key = ?')
    this.#log = prepare('INSERT INTO changes VALUES (?, ?, ?, ?, ?)')
    this.#after = prepare('SELECT * FROM changes WHERE version > ? AND kind = ? ORDER BY version LIMIT ?')
    this.#has = prepare('SELECT 1 FROM changes WHERE version = ?')
    const log = prepare('SELECT max(version) AS last, count(*) AS rows FROM changes').get() as {
      last: number
      rows: number
    }
    this.#rows = log.rows
    this.forgotten = (prepare("SELECT value FROM facts WHERE name = 'forgotten'").get() as { value: number }).value
    this.version = log.last ?? 0
    this.#run(() => jumpVersion(this.connection, this.version + openingJump))
    this.committed(this.version + openingJump)
  }

  /** Every stored object, in no particular order. */
  objects(): Iterable<ObjectRow> {
    return this.connection.prepare('SELECT * FROM objects').iterate() as Iterable<ObjectRow>
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
    if (change.type === 'DELETED') this.#remove.run(change.kind, key)
    else this.#put.run(change.kind, key, change.body)
    this.#log.run(change.version, change.kind, change.type, change.body, change.before)
  }

  /** Takes note of a committed change, and now and then forgets the oldest ones. */
  committed(version: number): void {
    this.version = version
    this.#rows += 1
    if (this.#rows > this.#logLimit + forgottenAtOnce) this.#forget()
  }

  /** Whether a watch can go on after this version without missing a change. */
  remembers(version: number): boolean {
    return version === this.version || version === this.forgotten || this.#has.get(version) !== undefined
  }

  /** The first `limit` changes of a kind after a version. */
  changesAfter(version: number, kind: string, limit: number): ChangeRow[] {
    return this.#after.all(version, kind, limit) as unknown as ChangeRow[]
  }

  close(): void {
    this.connection.close()
    this.#lock.close()
  }

  #forget(): void {
    const surplus = this.#rows - this.#logLimit
    this.transaction(() => {
      const row = this.connection
        .prepare('SELECT version FROM changes ORDER BY version LIMIT 1 OFFSET ?')
        .get(surplus - 1) as { version: number }
      this.connection.prepare('DELETE FROM changes WHERE version <= ?').run(row.version)
      this.connection.prepare("UPDATE facts SET value = ? WHERE name = 'forgotten'").run(row.version)
      this.forgotten = row.version
    })
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
    .prepare("INSERT INTO changes VALUES (?, '', 'OPENED', '', NULL)")
    .run(Math.max(version, last + openingJump))
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
    connection?.close()
    if (error instanceof InvalidInput || error instanceof Internal) throw error
    throw damaged(file, (error as Error).message, error)
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
  if (pragma('user_version') !== schemaVersion) {
    throw new InvalidInput(
      `${file} has store format ${pragma('user_version')}, this program reads format ${schemaVersion}`,
      { remedy: 'Use the version of Carbonado that wrote the file, or restore a backup of the right format.' },
    )
  }
}

function prepareForWriting(connection: DatabaseSync): void {
  connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
  const tables = (connection.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as { n: number }).n
  if (tables === 0) connection.exec(`BEGIN; ${schema} COMMIT`)
}

/** Takes a lock that the kernel takes back when the process dies: a transaction held open on a file of its own. */
export function lockFile(file: string): DatabaseSync {
  const lock = new DatabaseSync(file, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    throw new Conflict(`The store ${file.replace(/\.lock$/, '')} is in use by another process`, {
      remedy: 'Stop the other control process, or give this one a dataDirectory of its own.',
      cause: error,
    })
  }
}

function damaged(file: string, found: string, cause?: unknown): Internal {
  return new Internal(`The store file ${file} is damaged (${found}); it is not opened, so that nothing more is lost`, {
    remedy: 'Keep a copy of the file and restore the last backup with `control restore`.',
    cause,
  })
}

function asStoreError(error: unknown): unknown {
  if ((error as { code?: string })?.code !== 'ERR_SQLITE_ERROR') return error
  return new Unavailable(`The store cannot write: ${(error as Error).message}`, {
    remedy: 'Check free space and the health of the disk under dataDirectory.',
    cause: error,
  })
}
