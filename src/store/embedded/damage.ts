import { Internal } from '../../base/index.ts'

/** A store file that is not as it was written. */
export function damaged(file: string, found: string, cause?: unknown, remedy = restoreBackup): Internal {
  return new Internal(`The store file ${file} is damaged (${found}); it is not opened, so that nothing more is lost`, {
    remedy,
    cause,
  })
}

const restoreBackup = 'Keep a copy of the file and restore the last backup with `control restore`.'
