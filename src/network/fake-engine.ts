import { isDeepStrictEqual } from 'node:util'
import { Conflict } from '../base/index.ts'
import { zeroCounters } from './counters.ts'
import type {
  AttachedEndpoint,
  AttachRequest,
  EndpointCounters,
  EngineProblem,
  ForeignUse,
  NetworkEngine,
} from './engine.ts'

/** What a fake engine keeps where the real one keeps it in the kernel: it outlives the engine object. */
export interface FakeKernel {
  attachments: Map<string, AttachRequest>
  counters: Map<string, EndpointCounters>
}

/** Makes an empty fake kernel. */
export function createFakeKernel(): FakeKernel {
  return { attachments: new Map(), counters: new Map() }
}

/** A NetworkEngine in memory, for unit tests of what stands above the interface; it moves no bytes. */
export class FakeEngine implements NetworkEngine {
  readonly #kernel: FakeKernel

  constructor(kernel: FakeKernel = createFakeKernel()) {
    this.#kernel = kernel
  }

  async start(): Promise<void> {}

  prepare(): Disposable {
    return { [Symbol.dispose]: () => {} }
  }

  sendProbe(): void {}

  probeHeard(): undefined {}

  probeAddresses(): void {}

  foreignUses(): ForeignUse[] {
    return []
  }

  async attach(request: AttachRequest, confirmed?: Promise<unknown>): Promise<AttachedEndpoint> {
    await confirmed
    const { routingTable } = request
    const { routingTable: _old, ...present } = this.#kernel.attachments.get(request.endpointId) ?? request
    if (!isDeepStrictEqual({ ...present, ...(routingTable === undefined ? {} : { routingTable }) }, request)) {
      throw new Conflict(`endpoint ${request.endpointName} is attached in another way`, { remedy: 'Detach it first.' })
    }
    this.#kernel.attachments.set(request.endpointId, structuredClone(request))
    return describe(request)
  }

  async detach(endpointId: string): Promise<void> {
    this.#kernel.attachments.delete(endpointId)
    this.#kernel.counters.delete(endpointId)
  }

  async shape(endpointId: string, rates: { bandwidthFloor: number; bandwidthCap?: number }): Promise<void> {
    const { bandwidthCap: _before, ...request } = this.#kernel.attachments.get(endpointId)!
    const cap = rates.bandwidthCap === undefined ? {} : { bandwidthCap: rates.bandwidthCap }
    this.#kernel.attachments.set(endpointId, { ...request, bandwidthFloor: rates.bandwidthFloor, ...cap })
  }

  async changeUplink(): Promise<void> {}

  async attached(): Promise<AttachedEndpoint[]> {
    return [...this.#kernel.attachments.values()].map(describe)
  }

  async check(request: AttachRequest): Promise<EngineProblem[]> {
    const present = this.#kernel.attachments.get(request.endpointId)
    if (!present) return [{ reason: 'Missing', message: `endpoint ${request.endpointName} is not attached` }]
    if (isDeepStrictEqual(present, request)) return []
    return [{ reason: 'Different', message: `endpoint ${request.endpointName} is attached in another way` }]
  }

  findDrift(): [] {
    return []
  }

  counters(): EndpointCounters[] {
    return [...this.#kernel.attachments.keys()].map((id) => this.#kernel.counters.get(id) ?? zeroCounters(id))
  }

  async stop(): Promise<void> {}
}

function describe(request: AttachRequest): AttachedEndpoint {
  const { addresses, netns: _netns, mtu, ...rest } = request
  return {
    ...rest,
    hostInterface: `cb${request.endpointId.replaceAll('-', '').slice(0, 10)}`,
    addresses: addresses.map(({ address }) => address),
    mtu: mtu ?? 1496,
  }
}
