import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Unavailable } from '../../src/base/index.ts'
import { annotationsCapability, carbonadoConfigurationList, type CniResult } from '../../lab/cni.ts'
import { createPodNetns, removePodNetns } from '../../lab/containers.ts'
import { nodePlaces } from '../../lab/places.ts'
import { insideMachine } from '../../lab/processes.ts'
import { machinePid } from '../../lab/state.ts'
import type { ChainRequest, ChainResponse, PluginChain } from './cni-chain.ts'
import { startInLab } from './processes.ts'

/** A chain of CNI plugins and where they are. */
export interface PluginSet {
  chain: PluginChain
  /** Folder in the node. */
  folder: string
}

/** Carbonado's plugin as the lab installs it. */
export const carbonadoPlugins: PluginSet = { chain: carbonadoConfigurationList, folder: nodePlaces.cniPlugins }

/** What Carbonado is asked for. */
export interface Wish {
  network: string
  perfTier?: string
}

/** A network namespace that a chain of plugins has attached. */
export interface Attachment {
  containerId: string
  /** Namespace as the host sees it. */
  netns: string
  address: string
  mac: string
  /** How long ADD took. */
  milliseconds: number
  result: CniResult
}

/**
 * Stands for the container runtime of a node: one program in the node that starts plugins, so that a call costs the
 * same whosever plugin it is.
 */
export class Runtime {
  readonly machine: string
  readonly #plugins: PluginSet
  readonly #driver: ChildProcess
  readonly #waiting = new Map<number, (response: ChainResponse) => void>()
  #calls = 0

  constructor(machine: string, plugins: PluginSet) {
    this.machine = machine
    this.#plugins = plugins
    const program = fileURLToPath(new URL('./cni-driver.ts', import.meta.url))
    this.#driver = startInLab(insideMachine(machinePid(machine), [process.execPath, program]))
    this.#driver.on('error', () => {}) // 'close' follows
    this.#driver.on('close', () => this.#failAll('the CNI driver ended'))
    this.#driver.stdin!.on('error', () => {})
    createInterface({ input: this.#driver.stdout! }).on('line', (line) =>
      this.#settle(JSON.parse(line) as ChainResponse),
    )
  }

  /** Makes the network namespace for a container; needed before `add`. */
  prepare(containerId: string): Promise<string> {
    return createPodNetns(this.machine, containerId)
  }

  /** Lets go of the network namespace. */
  release(containerId: string): Promise<void> {
    return removePodNetns(this.machine, containerId)
  }

  /** ADD of the chain. Throws Unavailable with what the plugin said. */
  async add(containerId: string, capabilityValues: Record<string, unknown> = {}): Promise<Attachment> {
    const response = await this.#call('ADD', containerId, { capabilityValues })
    const result = response.result as CniResult
    return {
      containerId,
      netns: `/proc/${machinePid(this.machine)}/root${netnsInNode(containerId)}`,
      address: result.ips?.[0]?.address.split('/')[0] ?? '',
      mac: result.interfaces?.find(({ sandbox }) => sandbox)?.mac ?? '',
      milliseconds: response.milliseconds,
      result,
    }
  }

  /** DEL of the chain; returns how many milliseconds it took. */
  async remove(attachment: Attachment, capabilityValues: Record<string, unknown> = {}): Promise<number> {
    const { containerId, result } = attachment
    return (await this.#call('DEL', containerId, { capabilityValues, prevResult: result })).milliseconds
  }

  /** Network namespace and ADD. */
  async attach(containerId: string, capabilityValues: Record<string, unknown> = {}): Promise<Attachment> {
    await this.prepare(containerId)
    return this.add(containerId, capabilityValues)
  }

  /** DEL and the end of the network namespace. */
  async detach(attachment: Attachment): Promise<void> {
    await this.remove(attachment)
    await this.release(attachment.containerId)
  }

  /** Ends the program in the node. */
  end(): void {
    this.#driver.stdin!.end()
  }

  async #call(
    command: 'ADD' | 'DEL',
    containerId: string,
    more: Partial<ChainRequest>,
  ): Promise<Extract<ChainResponse, { ok: true }>> {
    const id = this.#calls++
    const { chain, folder } = this.#plugins
    const request: ChainRequest = {
      id,
      command,
      chain,
      pluginFolder: folder,
      containerId,
      netns: netnsInNode(containerId),
      podArguments: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${containerId}`,
      ...more,
    }
    const answered = new Promise<ChainResponse>((resolve) => this.#waiting.set(id, resolve))
    this.#driver.stdin!.write(`${JSON.stringify(request)}\n`)
    const response = await answered
    if (response.ok) return response
    throw new Unavailable(`${command} on ${this.machine} failed: ${response.error}`)
  }

  #settle(response: ChainResponse): void {
    this.#waiting.get(response.id)?.(response)
    this.#waiting.delete(response.id)
  }

  #failAll(error: string): void {
    for (const id of [...this.#waiting.keys()]) this.#settle({ id, ok: false, error })
  }
}

/** What a runtime tells Carbonado's plugin about a pod with this wish. */
export function asAnnotations(wish: Wish): Record<string, unknown> {
  return { [annotationsCapability]: { 'carbonado.io/endpoint0': JSON.stringify(wish) } }
}

function netnsInNode(containerId: string): string {
  return `${nodePlaces.netns}/${containerId}`
}
