import {
  podAnnotations,
  type CniError,
  type CniOutcome,
  type CniRequest,
  type CniResult,
  type Lab,
} from '../../lab/index.ts'
import type { ExecResult } from '../../src/base/index.ts'

/** What a sandbox asks for; as `ContainerOptions`, but for the process that it does not have. */
export interface SandboxWishes {
  network?: string
  perfTier?: string
  endpointId?: string
  /** Put over the request of every call. */
  request?: CniRequest
}

/** Wishes for a container with an interface on each of these networks, eth0 first. */
export function severalInterfaces(...wishes: { network: string; perfTier?: string }[]): SandboxWishes {
  const entries = wishes.map((wish, index) => [`carbonado.io/endpoint${index}`, JSON.stringify(wish)])
  return { request: { annotations: Object.fromEntries(entries) as Record<string, string> } }
}

let made = 0

/**
 * A network namespace on a node with a runtime's view of it, attached by the CNI plugin alone: what a container is
 * without its process, so that tests can have many of them.
 */
export class Sandbox {
  readonly lab: Lab
  readonly node: string
  readonly id: string
  readonly request: CniRequest
  /** What the last successful ADD answered. */
  result: CniResult | undefined

  private constructor(lab: Lab, node: string, id: string, request: CniRequest) {
    this.lab = lab
    this.node = node
    this.id = id
    this.request = request
  }

  /** Makes the namespace; ADD is up to the caller. */
  static async make(lab: Lab, node: string, { request, ...wishes }: SandboxWishes = {}): Promise<Sandbox> {
    const id = `sandbox-${process.pid}-${++made}`
    const netns = await lab.createNetns(node, id)
    const pod = { namespace: 'default', name: id }
    return new Sandbox(lab, node, id, {
      containerId: id,
      netns,
      interfaceName: 'eth0',
      pod,
      annotations: podAnnotations({ node, name: id, ...wishes }),
      ...request,
    })
  }

  /** Makes the namespace and attaches it; throws when ADD fails. */
  static async attached(lab: Lab, node: string, wishes: SandboxWishes = {}): Promise<Sandbox> {
    const sandbox = await Sandbox.make(lab, node, wishes)
    const outcome = await sandbox.add()
    if (!outcome.ok) throw new Error(`ADD on ${node} was expected to succeed, it said: ${describe(outcome.error)}`)
    return sandbox
  }

  /** Calls ADD, with `changes` put over what it usually says. */
  async add(changes: CniRequest = {}): Promise<CniOutcome> {
    const outcome = await this.lab.cni(this.node, 'ADD', { ...this.request, ...changes })
    if (outcome.ok) this.result = outcome.result
    return outcome
  }

  /** Calls DEL. */
  del(changes: CniRequest = {}): Promise<CniOutcome> {
    return this.lab.cni(this.node, 'DEL', { ...this.request, prevResult: this.result, ...changes })
  }

  /** Calls CHECK. */
  check(changes: CniRequest = {}): Promise<CniOutcome> {
    return this.lab.cni(this.node, 'CHECK', { ...this.request, prevResult: this.result, ...changes })
  }

  /** Calls DEL until it succeeds, as a runtime does, then lets go of the namespace. Throws after 90 s. */
  async remove(): Promise<void> {
    const giveUp = Date.now() + 90_000
    for (;;) {
      const outcome = await this.del()
      if (outcome.ok) break
      if (Date.now() > giveUp) throw new Error(`DEL was expected to succeed at last: ${describe(outcome.error)}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await this.lab.removeNetns(this.node, this.id)
  }

  /** Runs a command of the node in the namespace; throws ExecError when it fails. */
  exec(command: string[], deadline?: number): Promise<ExecResult> {
    const inside = ['nsenter', `--net=/run/netns/${this.id}`, '--', ...command]
    return this.lab.nodeExec(this.node, inside, deadline === undefined ? {} : { deadline })
  }

  /** Whether it reaches an address. */
  reaches(address: string, seconds = 1): Promise<boolean> {
    return this.exec(['ping', '-q', '-c', '2', '-i', '0.1', '-W', String(seconds), address]).then(
      () => true,
      () => false,
    )
  }

  /** Addresses without prefix length. */
  get addresses(): string[] {
    return (this.result?.ips ?? []).map(({ address }) => address.split('/')[0]!)
  }

  get address(): string {
    return this.addresses[0]!
  }

  /** MAC of the interface inside. */
  get mac(): string {
    return this.result?.interfaces?.find(({ sandbox }) => sandbox)?.mac ?? ''
  }

  /** The interfaces inside, with their MACs, as the last successful ADD answered. */
  get inside(): { name: string; mac: string }[] {
    return (this.result?.interfaces ?? [])
      .filter(({ sandbox }) => sandbox)
      .map(({ name, mac }) => ({ name, mac: mac! }))
  }

  /** Name of the interface's other end, on the node. */
  get hostInterface(): string {
    return this.result?.interfaces?.find(({ sandbox }) => !sandbox)?.name ?? ''
  }
}

/** An error of the plugin in one line. */
export function describe({ code, msg, details }: CniError): string {
  return `code ${code}: ${msg} (${details ?? 'no details'})`
}

/** The error of a call that must have been refused; throws when it was not. */
export function refusal(outcome: CniOutcome): CniError {
  if (!outcome.ok) return outcome.error
  throw new Error(`the call was expected to be refused, it answered ${JSON.stringify(outcome.result)}`)
}
