import { readdirSync, watch, type FSWatcher } from 'node:fs'
import { join } from 'node:path'

/** Milliseconds for which changes gather before the folders are read again. */
const settling = 5
/** Milliseconds after which they are read again in any case: a watch may be lost when the kernel is short of memory. */
const longestTrust = 5_000

/**
 * The cgroups below a folder of a cgroup filesystem, kept current by watching: a container that comes is known
 * milliseconds later. It watches only between `start` and `stop`.
 */
export class CgroupTree {
  readonly root: string
  readonly #onChange: () => void
  readonly #watches = new Map<string, FSWatcher>()
  #folders: string[] = []
  #readAt = -Infinity
  #timer: NodeJS.Timeout | undefined

  /** `onChange` is told when cgroups came or went. */
  constructor(root: string, onChange: () => void) {
    this.root = root
    this.#onChange = onChange
  }

  /** All cgroups, the root first. */
  folders(): string[] {
    if (performance.now() - this.#readAt > longestTrust) this.#read()
    return this.#folders
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const watcher of this.#watches.values()) watcher.close()
    this.#watches.clear()
    this.#readAt = -Infinity
  }

  #read(): void {
    this.#folders = foldersBelow(this.root)
    this.#readAt = performance.now()
    const there = new Set(this.#folders)
    for (const [folder, watcher] of this.#watches) {
      if (there.has(folder)) continue
      watcher.close()
      this.#watches.delete(folder)
    }
    for (const folder of this.#folders) this.#watch(folder)
  }

  #watch(folder: string): void {
    if (this.#watches.has(folder)) return
    try {
      const watcher = watch(folder, { persistent: false }, (event) => event === 'rename' && this.#changed())
      watcher.on('error', () => this.#watches.delete(folder))
      this.#watches.set(folder, watcher)
    } catch {
      // it has gone already, or there are no more watches: then it is read every few seconds
    }
  }

  #changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#read()
      this.#onChange()
    }, settling)
  }
}

/** A folder and all folders below it. */
export function foldersBelow(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true })
    const below = entries.filter((entry) => entry.isDirectory()).flatMap(({ name }) => foldersBelow(join(folder, name)))
    return [folder, ...below]
  } catch {
    return [] // it went meanwhile
  }
}
