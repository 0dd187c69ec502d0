import koffi from 'koffi'
import { execFileSync } from 'node:child_process'

const newMountNamespace = 0x00020000
const newNetworkNamespace = 0x40000000

/**
 * Moves this test process into network and mount namespaces of its own, with a bpffs and a /run of its own: whatever a
 * test makes there goes when the process ends, also when it is killed.
 */
export function enterOwnNamespaces(): void {
  const unshare = koffi.load(null).func('int unshare(int flags)')
  if (unshare(newMountNamespace | newNetworkNamespace) !== 0) {
    throw new Error(`unshare failed with errno ${koffi.errno()}; these tests need root`)
  }
  run('mount', '--make-rprivate', '/')
  run('mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf')
  run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
  run('ip', 'link', 'set', 'lo', 'up')
}

/** Runs a command and returns what it printed; throws with its standard error. */
export function run(...[file, ...args]: [string, ...string[]]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Runs a command inside a named network namespace. */
export function runIn(namespace: string, ...command: string[]): string {
  return run('nsenter', `--net=/run/netns/${namespace}`, ...command)
}

/** Whether a command succeeds. */
export function succeeds(...command: [string, ...string[]]): boolean {
  try {
    run(...command)
    return true
  } catch {
    return false
  }
}
