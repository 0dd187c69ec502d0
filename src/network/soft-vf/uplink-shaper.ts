import { exec, execJson } from '../../base/index.ts'
import type { BatchProcess } from './batch-process.ts'
import { maximumSlots } from './map-layout.ts'
import {
  endpointClassCommand,
  removeClassCommand,
  removeTreeCommand,
  slotOfClass,
  uplinkClassCommands,
  uplinkCommands,
  type Rates,
} from './shaping.ts'

/**
 * The tree of classes on the uplink. It is there only while a floor is promised on the node: a node that has promised
 * nothing has nothing to keep, and frames pay 5 % of a round trip for it.
 */
export class UplinkShaper {
  readonly #tc: BatchProcess
  readonly #device: string
  readonly #linkRate: number
  readonly #onChange: (isShaped: boolean) => void
  /** Rates by slot, whether there are classes or not: decisions are made on it without waiting, commands run in order. */
  readonly #rates = new Map<number, Rates>()
  #isShaped = false

  /** `linkRate` in bits per second. `onChange` is told when classes keep the rates, and before they no longer do. */
  constructor(tc: BatchProcess, device: string, linkRate: number, onChange: (isShaped: boolean) => void) {
    this.#tc = tc
    this.#device = device
    this.#linkRate = linkRate
    this.#onChange = onChange
  }

  /** Whether every endpoint has a class. */
  get isShaped(): boolean {
    return this.#isShaped
  }

  /** Adopts what an earlier agent left: classes that are right are only set again, which touches no frame. */
  async start(endpoints: Iterable<[slot: number, rates: Rates]>): Promise<void> {
    for (const [slot, rates] of endpoints) this.#rates.set(slot, rates)
    const isThere = await hasTree(this.#device)
    if (!this.#hasFloor()) return isThere ? this.#removeTree() : undefined
    this.#isShaped = true
    const tree = isThere
      ? uplinkClassCommands(this.#device, this.#linkRate)
      : uplinkCommands(this.#device, this.#linkRate)
    await this.#tc.must([...tree, ...this.#allClasses()])
    this.#onChange(true)
    const orphans = (await classHandles(this.#device)).map(slotOfClass).filter((slot) => this.#isOrphan(slot))
    await this.#tc.run(orphans.map((slot) => removeClassCommand(this.#device, slot)))
  }

  /** Keeps these rates for the endpoint in a slot from now on. */
  async shape(slot: number, rates: Rates): Promise<void> {
    this.#rates.set(slot, rates)
    if (this.#isShaped) return this.#hasFloor() ? this.#tc.must([this.#classOf(slot, rates)]) : this.#removeTree()
    if (rates.bandwidthFloor === 0) return
    this.#isShaped = true
    try {
      await this.#tc.must([...uplinkCommands(this.#device, this.#linkRate), ...this.#allClasses()])
    } catch (error) {
      this.#rates.delete(slot)
      await this.#removeTree()
      throw error
    }
    if (this.#isShaped) this.#onChange(true)
  }

  /** Forgets endpoints; with the last floor goes the whole tree. */
  async remove(slots: number[]): Promise<void> {
    for (const slot of slots) this.#rates.delete(slot)
    if (!this.#isShaped) return
    if (!this.#hasFloor()) return this.#removeTree()
    await this.#tc.run(slots.map((slot) => removeClassCommand(this.#device, slot)))
  }

  async #removeTree(): Promise<void> {
    this.#isShaped = false
    this.#onChange(false)
    await this.#tc.run([removeTreeCommand(this.#device)])
  }

  #hasFloor(): boolean {
    return this.#rates.values().some((rates) => rates.bandwidthFloor > 0)
  }

  #allClasses(): string[] {
    return [...this.#rates].map(([slot, rates]) => this.#classOf(slot, rates))
  }

  #classOf(slot: number, rates: Rates): string {
    return endpointClassCommand(this.#device, slot, rates, this.#linkRate)
  }

  #isOrphan(slot: number): boolean {
    return slot > 0 && slot < maximumSlots && !this.#rates.has(slot)
  }
}

/** Handles of the classes on a device, such as 1:7. (iproute2 6.1 prints classes as text also when asked for JSON.) */
export async function classHandles(device: string): Promise<string[]> {
  const { stdout } = await exec(['tc', 'class', 'show', 'dev', device])
  return [...stdout.matchAll(/^class htb (\S+)/gm)].map((match) => match[1]!)
}

async function hasTree(device: string): Promise<boolean> {
  const show = ['tc', '-json', 'qdisc', 'show', 'dev', device] as const
  const qdiscs = (await execJson<{ kind: string; handle: string; root?: boolean }[]>([...show])) ?? []
  return qdiscs.some((qdisc) => qdisc.root && qdisc.kind === 'htb' && qdisc.handle === '1:')
}
