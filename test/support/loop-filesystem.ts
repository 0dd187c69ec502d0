import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from './own-namespaces.ts'

/** A small ext4 of its own, on a file; only after `enterOwnNamespaces`, so that nobody else sees the mount. */
export class LoopFilesystem implements Disposable {
  readonly image: string
  readonly path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-loop-'))

  /** Makes it, or mounts an image that there is, at `path` unless told. */
  constructor({ mebibytes = 16, image, path }: { mebibytes?: number; image?: string; path?: string } = {}) {
    this.image = image ?? join(this.#folder, 'image')
    this.path = path ?? join(this.#folder, 'mount')
    mkdirSync(this.path, { recursive: true })
    if (!image) {
      const file = openSync(this.image, 'w')
      ftruncateSync(file, mebibytes * 1024 * 1024)
      closeSync(file)
      run('mkfs.ext4', '-q', '-F', '-m', '0', this.image)
    }
    this.mount()
  }

  mount(): void {
    run('mount', '-o', 'loop,errors=remount-ro', this.image, this.path)
  }

  unmount(): void {
    run('umount', this.path)
  }

  /** What the device has now, as a power failure would leave it: what the kernel has not written yet is missing. */
  copyImage(): string {
    const copy = join(this.#folder, `copy-${performance.now()}`)
    run('cp', '--sparse=always', this.image, copy)
    return copy
  }

  /** Takes all space that is left. */
  fill(): void {
    const file = openSync(join(this.path, 'filler'), 'a')
    try {
      for (const size of [1 << 20, 1 << 12, 1]) writeUntilFull(file, Buffer.alloc(size, 1))
    } finally {
      closeSync(file)
    }
  }

  /** Gives it back. */
  makeSpace(): void {
    rmSync(join(this.path, 'filler'))
  }

  /** What happens when ext4 finds an error: no write succeeds from now on. */
  abort(): void {
    run('mount', '-o', 'remount,abort', this.path)
  }

  [Symbol.dispose](): void {
    try {
      run('umount', '--lazy', this.path)
    } catch {
      // not mounted
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function writeUntilFull(file: number, block: Buffer): void {
  try {
    for (;;) writeSync(file, block)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}
