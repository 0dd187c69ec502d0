import { spawn } from 'node:child_process'
import { statfsSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { execJson, InvalidInput, NotFound } from '../../base/index.ts'
import type { AttachRequest } from '../engine.ts'

const networkNamespaceFileSystem = 0x6e736673 // NSFS_MAGIC

/** Throws NotFound when nothing is at the path, InvalidInput when it is no network namespace. */
export function assertNetworkNamespace(path: string): void {
  const type = fileSystemType(path)
  if (type === undefined) {
    throw new NotFound(`network namespace ${path} does not exist`, {
      remedy: 'The container has probably gone; start it again.',
    })
  }
  if (type !== networkNamespaceFileSystem) {
    throw new InvalidInput(`${path} is not a network namespace`, {
      remedy: 'Give the path of a network namespace file.',
    })
  }
}

function fileSystemType(path: string): number | undefined {
  try {
    return statfsSync(path).type
  } catch {
    return undefined
  }
}

/** `ip` commands inside the container: addresses before the link comes up, routes after. */
export function containerCommands(request: AttachRequest): string[] {
  const device = request.interfaceName
  return [
    ...request.addresses.map(
      ({ address, prefixLength }) =>
        `address add ${address}/${prefixLength} dev ${device}${isIPv6(address) ? ' nodad' : ''}`,
    ),
    'link set lo up',
    `link set ${device} up`,
    ...request.addresses.flatMap(({ gateway }) => (gateway ? [`route add default via ${gateway} dev ${device}`] : [])),
  ]
}

/**
 * Starts `ip -batch -` or `tc -batch -` inside a network namespace before it is known what to configure, so that its start-up time
 * passes while the address is being found. Disposing of it without commands ends it.
 */
export class ContainerConfigurator {
  readonly #child
  readonly #done: Promise<void>

  constructor(netns: string, program: 'ip' | 'tc' = 'ip') {
    this.#child = spawn('nsenter', [`--net=${netns}`, program, '-batch', '-'], {
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['pipe', 'ignore', 'pipe'],
    })
    let stderr = ''
    this.#child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
    this.#child.stdin.on('error', () => {}) // the exit code tells
    this.#done = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(stderr.trim() || `exit ${code}`))))
    })
    this.#done.catch(() => {}) // whoever asks by `run` sees it
  }

  /** Runs the commands; once only. */
  run(commands: string[]): Promise<void> {
    this.#child.stdin.end(`${commands.join('\n')}\n`)
    return this.#done
  }

  [Symbol.dispose](): void {
    this.#child.stdin.end()
  }
}

interface LinkReport {
  ifname: string
  address: string
  mtu: number
  flags: string[]
  addr_info: { local: string; prefixlen: number }[]
}

/** What the container's interface looks like now; undefined when there is none. */
export async function inspectContainer(netns: string, interfaceName: string): Promise<LinkReport | undefined> {
  const links = await execJson<LinkReport[]>(['nsenter', `--net=${netns}`, 'ip', '-json', 'address', 'show'])
  return links?.find((link) => link.ifname === interfaceName)
}
