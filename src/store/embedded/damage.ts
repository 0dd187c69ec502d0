import { statSync } from 'node:fs'
import { Internal } from '../../base/index.ts'

/** A store file that is not as it was written. */
export function damaged(file: string, found: string, cause?: unknown, remedy = restoreBackup): Internal {
  return new Internal(`The store file ${file} is damaged (${found}); it is not opened, so that nothing more is lost`, {
    remedy,
    cause,
  })
}

/**
 * Throws Internal when a store file is missing or empty, but not what there is beside one only when it was in use or is
 * being restored. SQLite would begin with nothing, and remove the log.
 */
export function checkPresent(file: string): void {
  if (hasContent(file)) return
  const left = ['-wal', '-flushed', '.incoming'].map((suffix) => file + suffix).find(hasContent)
  if (left) throw damaged(file, `it is missing or empty, but not ${left}`, undefined, putBack)
}

/** Whether a file is there and not empty. */
export function hasContent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0
}

const putBack =
  'Put the file back where it was, or restore the last backup with `control restore`. To begin with an empty store, ' +
  'move away all files whose names begin like its own.'
const restoreBackup = 'Keep a copy of the file and restore the last backup with `control restore`.'
