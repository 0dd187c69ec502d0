import { lstatSync, readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { InvalidInput } from '../../../base/index.ts'
import type { PathKind } from './publish-decision.ts'

/** PATH_MAX of Linux, with the byte that ends it. */
const longestPath = 4096

/** Throws InvalidInput unless a path is absolute and names one place in one way. */
export function checkPublishPath(path: string, what: string): void {
  const problem = problemOf(path)
  if (problem === undefined) return
  throw new InvalidInput(`the ${what} path ${problem}`, { remedy: 'Give an absolute path without "." and "..".' })
}

function problemOf(path: string): string | undefined {
  if (path === '') return 'is missing'
  const bytes = Buffer.byteLength(path)
  if (bytes >= longestPath) return `has ${bytes} bytes, more than ${longestPath - 1}`
  if (path.split('/').some((part) => Buffer.byteLength(part) > 255)) return 'has a part of more than 255 bytes'
  if (/[\u0000-\u001f]/.test(path)) return 'has control characters'
  if (!path.startsWith('/')) return 'is not absolute'
  const plain = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  if (normalize(plain) !== plain) return 'is not plain'
  return plain === '/' ? 'is the root of the filesystem' : undefined
}

/** The path as the kernel's mount table has it: links in all parts but the last resolved. Undefined: it has no folder. */
export function kernelPath(path: string): string | undefined {
  try {
    return join(realpathSync(dirname(path)), basename(path))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

/** What is at a path, a symbolic link not followed. */
export function pathKind(path: string): PathKind {
  const entry = lstatSync(path, { throwIfNoEntry: false })
  if (!entry) return 'absent'
  if (entry.isSymbolicLink()) return 'symbolic link'
  if (entry.isBlockDevice()) return 'block device'
  if (entry.isFile()) return entry.size === 0 ? 'file' : 'other'
  if (!entry.isDirectory()) return 'other'
  return readdirSync(path).length === 0 ? 'empty folder' : 'folder'
}
