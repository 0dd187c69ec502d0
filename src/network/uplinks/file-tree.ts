import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

/** Files of the kernel by path; both answers are empty for what is not there. */
export interface FileTree {
  read(path: string): string | undefined
  list(path: string): string[]
  /** As `read`, without holding up the program: the kernel may let one wait for some files. */
  readLater(path: string): Promise<string | undefined>
}

/** The files of this machine, as seen from the network namespace in which /sys and /proc were mounted. */
export const kernelFiles: FileTree = {
  read(path) {
    try {
      return readFileSync(path, 'utf8').trim()
    } catch {
      return undefined // a device that is down refuses to tell its carrier, one without a cable its speed
    }
  },
  list(path) {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  readLater: (path) =>
    readFile(path, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    ),
}
