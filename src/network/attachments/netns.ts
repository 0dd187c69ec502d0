import { lstatSync, readFileSync, readlinkSync, statfsSync, statSync } from 'node:fs'
import { InvalidInput, NotFound } from '../../base/index.ts'
import { cniCodes } from '../cni/errors.ts'

/** What is at a path that is said to be a network namespace. */
export type NetnsState = 'network-namespace' | 'gone' | 'something-else'

const nsfsMagic = 0x6e736673

/**
 * Looks at a path without entering it. Namespaces of other kinds can only be told apart where the path is a link of
 * procfs; for bind mounts the kernel refuses later, when the engine enters.
 */
export function netnsState(path: string): NetnsState {
  try {
    if (statfsSync(path).type !== nsfsMagic) return 'something-else'
    if (statSync(path).ino === statSync('/proc/self/ns/net').ino) return 'something-else'
    if (!lstatSync(path).isSymbolicLink()) return 'network-namespace' // a bind mount
    return readlinkSync(path).startsWith('net:[') ? 'network-namespace' : 'something-else'
  } catch {
    return 'gone'
  }
}

/** Throws NotFound (CNI code 3) for a namespace that has gone, InvalidInput (CNI code 4) for what is none. */
export function requireNetns(path: string, state = netnsState(path)): void {
  if (state === 'network-namespace') return
  if (state === 'gone') {
    throw new NotFound(`network namespace ${path} does not exist (any more)`, {
      remedy: 'Start the container again; nothing is left to clean up.',
      details: { cniCode: cniCodes.unknownContainer },
    })
  }
  throw new InvalidInput(`${path} is not the network namespace of a container`, {
    remedy: 'Set CNI_NETNS to a path such as /run/netns/NAME or /proc/PID/ns/net, not that of the host itself.',
    details: { cniCode: cniCodes.invalidEnvironment },
  })
}

/** Identifies the current boot of the kernel. */
export function currentBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}
