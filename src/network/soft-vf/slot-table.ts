import { Exhausted } from '../../base/index.ts'
import type { AttachedEndpoint } from '../engine.ts'
import { maximumSlots } from './map-layout.ts'

/** Which slot each endpoint has: its place in the maps of the programs, and in the name of its interface on the host. */
export class SlotTable {
  /** Slots in use, those whose interface is still being made or removed included. */
  readonly #slots = new Map<number, AttachedEndpoint | 'taken'>()
  readonly #slotOf = new Map<string, number>()
  readonly #endpointIds = new Map<number, string>()

  /** The endpoint of each slot that has one. */
  get endpointIds(): ReadonlyMap<number, string> {
    return this.#endpointIds
  }

  slotOf(endpointId: string): number | undefined {
    return this.#slotOf.get(endpointId)
  }

  find(endpointId: string): AttachedEndpoint | undefined {
    const slot = this.#slotOf.get(endpointId)
    const endpoint = slot === undefined ? undefined : this.#slots.get(slot)
    return endpoint === 'taken' ? undefined : endpoint
  }

  attached(): AttachedEndpoint[] {
    return [...this.#slots.values()].filter((endpoint) => endpoint !== 'taken')
  }

  /** Takes a free slot for an endpoint that is not known yet. Throws Exhausted when there is none. */
  take(): number {
    for (let slot = 1; slot < maximumSlots; slot++) {
      if (this.#slots.has(slot)) continue
      this.#slots.set(slot, 'taken')
      return slot
    }
    throw new Exhausted(`all ${maximumSlots - 1} interfaces of the node are in use`, {
      remedy: 'Start the container on another node.',
    })
  }

  put(slot: number, endpoint: AttachedEndpoint): void {
    this.#slots.set(slot, endpoint)
    this.#slotOf.set(endpoint.endpointId, slot)
    this.#endpointIds.set(slot, endpoint.endpointId)
  }

  /** From here on the slot is nobody's, but not free: its interface is still there. */
  vacate(slot: number): void {
    const endpointId = this.#endpointIds.get(slot)
    if (endpointId !== undefined) this.#slotOf.delete(endpointId)
    this.#endpointIds.delete(slot)
    this.#slots.set(slot, 'taken')
  }

  free(slots: number[]): void {
    for (const slot of slots) this.#slots.delete(slot)
  }
}
