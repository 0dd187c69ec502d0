import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { Conflict, flushToDisk, InvalidInput } from '../../base/index.ts'
import { checkPresent, hasContent } from './damage.ts'
import { jumpVersion, lockFile, openChecked } from './database.ts'

/** What SQLite and control keep beside a store file, and apply to whatever file has its name. */
const companions = ['-wal', '-shm', '-journal', '-flushed']

/**
 * Writes a consistent copy of a store to a new file, which has its name only once it is whole; the store may be in use.
 * Throws Conflict when the file exists, Internal when the store is damaged.
 */
export function backupStore(storeFile: string, backupFile: string): void {
  refuseExisting(backupFile)
  checkPresent(storeFile)
  const unfinished = `${backupFile}.unfinished`
  rmSync(unfinished, { force: true })
  const connection = openChecked(storeFile, true)
  try {
    connection.prepare('VACUUM INTO ?').run(unfinished)
  } finally {
    connection.close()
  }
  flushToDisk(unfinished)
  renameSync(unfinished, backupFile)
  flushToDisk(dirname(backupFile))
}

/**
 * Puts a backup in the place of a store that is not in use; returns where the old store, or what was left of it, was
 * moved, if there was one. A store whose restore was killed is not opened until it is restored again.
 * Versions go on from the wall clock in microseconds, far above any that was given out after the backup, so that a
 * client that saw those is told to list again. Throws Internal when the backup is damaged, InvalidInput when it is not a
 * whole one, Conflict when the store is in use.
 */
export function restoreStore(backupFile: string, storeFile: string): string | undefined {
  refuseIncomplete(backupFile)
  openChecked(backupFile, true).close()
  const lock = lockFile(`${storeFile}.lock`)
  try {
    const incoming = `${storeFile}.incoming`
    for (const suffix of ['', ...companions]) rmSync(incoming + suffix, { force: true })
    copyFileSync(backupFile, incoming)
    const connection = openChecked(incoming)
    jumpVersion(connection, Date.now() * 1000)
    connection.exec('PRAGMA journal_mode = DELETE') // one file without companions, so that one rename moves it
    connection.close()
    flushToDisk(incoming)
    const kept = setAside(storeFile)
    renameSync(incoming, storeFile)
    flushToDisk(dirname(storeFile))
    return kept
  } finally {
    lock.close()
  }
}

/** An empty file would be a store without objects, and so would a file whose objects are in its log. */
function refuseIncomplete(backupFile: string): void {
  if (existsSync(backupFile) && !hasContent(backupFile)) {
    throw new InvalidInput(`${backupFile} is empty, so it is no backup`, { remedy: 'Restore another backup.' })
  }
  if (hasContent(`${backupFile}-wal`)) {
    throw new InvalidInput(`${backupFile} has a log beside it, so it is a copy of a store and no backup`, {
      remedy: `Restore a file that \`control backup\` has made, or put the copy with ${companions.join(', ')} in the place of the store.`,
    })
  }
}

function setAside(storeFile: string): string | undefined {
  // The file goes first: without it nothing is opened while the others are here (`checkPresent`).
  const present = ['', ...companions].filter((suffix) => existsSync(storeFile + suffix))
  if (present.length === 0) return undefined
  const kept = `${storeFile}.before-restore-${new Date().toISOString().replaceAll(/[:.]/g, '')}`
  for (const suffix of present) renameSync(storeFile + suffix, kept + suffix)
  return kept
}

function refuseExisting(file: string): void {
  if (!existsSync(file)) return
  throw new Conflict(`${file} already exists`, { remedy: 'Choose another file name, or move the file away.' })
}
