import koffi from 'koffi'
import { closeSync, openSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { Internal, NotFound } from '../../base/index.ts'

const enterNamespace = koffi.load(null).func('int setns(int descriptor, int type)')
const networkNamespace = 0x40000000 // CLONE_NEWNET

/**
 * Runs `work`, which must not wait, in another network namespace: a socket that it opens stays there. This thread is in
 * there only meanwhile, so nothing else of the process ever sees it. Throws NotFound when nothing is at the path, Internal
 * when it is no network namespace, and what `work` throws.
 */
export function inNetworkNamespace<T>(path: string, work: () => T): T {
  const ownNamespace = openSync('/proc/thread-self/ns/net', 'r')
  let namespace: number | undefined
  try {
    namespace = openNamespace(path)
    if (enterNamespace(namespace, networkNamespace) !== 0) {
      throw new Internal(`cannot enter the network namespace ${path}: ${getSystemErrorName(-koffi.errno())}`)
    }
    try {
      return work()
    } finally {
      // To go on in the wrong namespace would do the container's work to the node; nothing can be saved then.
      if (enterNamespace(ownNamespace, networkNamespace) !== 0) process.abort()
    }
  } finally {
    closeSync(ownNamespace)
    if (namespace !== undefined) closeSync(namespace)
  }
}

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw new NotFound(`network namespace ${path} does not exist`, {
      remedy: 'The container has probably gone; start it again.',
      cause: error,
    })
  }
}
