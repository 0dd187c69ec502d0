import { asCarbonadoError } from '../../base/index.ts'
import type { AttachedEndpoint, AttachRequest, Drift } from '../engine.ts'
import {
  decodeLink,
  decodeQueue,
  listLinks,
  listQueues,
  NetlinkSocket,
  place,
  type Link,
  type Queue,
} from '../netlink/index.ts'
import { programNumber } from './bpf-system-call.ts'
import { containerDamage } from './container-damage.ts'
import { isNetworkNamespace } from './container-side.ts'
import type { Damage } from './damage.ts'
import { hostDamage, type HostEnd } from './host-damage.ts'
import { ingressPrograms } from './ingress-hook.ts'
import { KernelListener } from './kernel-listener.ts'
import { encodeEndpoint, endpointSize, forwardingKey, slotKey } from './map-layout.ts'
import type { NodeDamage } from './node-damage.ts'
import type { Programs, SlotEntries } from './programs.ts'
import { hostInterfaceIndex } from './shaping.ts'

/** What the finder works with; the engine owns it. */
export interface DriftSources {
  socket: NetlinkSocket
  programs: Programs
  slotOf: (endpointId: string) => number | undefined
  find: (endpointId: string) => AttachedEndpoint | undefined
  /** What is wrong with the parts that all endpoints share; with their classes if asked. Reads only. */
  nodeDamage: (withClasses: boolean) => NodeDamage[]
  /** Runs work while the endpoint is attached and nothing else is done to it. */
  whileAttached: (endpointId: string, work: () => Promise<void>) => Promise<void>
  /** Lets go of the endpoint and its slot. */
  forget: (endpointId: string, request: AttachRequest) => void
}

/** Classes are looked at every so many looks, whatever was announced. */
const looksForClasses = 5
/** After so many looks everything has been looked at, whatever was announced. */
const looksForAll = 30

type Watched = { request: AttachRequest; endpoint: AttachedEndpoint; slot: number }
type HostEnds = { links: Map<number, Link>; roots: Map<number, Queue> }

/** Finds what of the datapath is not as it was made. */
export class DriftFinder {
  readonly #sources: DriftSources
  readonly #listener = new KernelListener()
  readonly #expected = new WeakMap<AttachedEndpoint, { entry: Buffer; key: Buffer }>()
  readonly #namespaceOf = new Map<number, number>()
  #look = 0

  constructor(sources: DriftSources) {
    this.#sources = sources
  }

  close(): void {
    this.#listener.close()
  }

  /** See `findDrift` of the engine. */
  find(requests: AttachRequest[], suspects: ReadonlySet<string>): Drift[] {
    this.#look = (this.#look + 1) % looksForAll
    const changes = this.#listener.changes()
    const watched = requests.flatMap((request) => this.#watch(request))
    const isTurn = ({ slot }: Watched): boolean => slot % looksForAll === this.#look
    const isSuspect = (each: Watched): boolean => changes.anywhere || suspects.has(each.request.endpointId)
    // one list of all host ends costs as much as one of a single one, so they have no turns
    const hostDue = changes.host || this.#look === 0 ? watched : watched.filter(isSuspect)
    const ends = hostDue.length > 0 ? this.#readHostEnds() : undefined
    const isChanged = ({ slot }: Watched): boolean => changes.namespaces.has(this.#namespaceOf.get(slot) ?? -1)
    const withClasses = changes.host || changes.anywhere || suspects.size > 0 || this.#look % looksForClasses === 0
    const ofHosts = hostDue.flatMap((each) => readable(each, () => this.#hostDrift(each, ends!)))
    const gone = new Set(ofHosts.filter(({ isGone }) => isGone).map(({ endpointId }) => endpointId))
    const containersDue = watched
      .filter((each) => isTurn(each) || isSuspect(each) || isChanged(each))
      .filter(({ request }) => !gone.has(request.endpointId))
    return [
      ...readable(undefined, () => this.#nodeDrift(withClasses)),
      ...readable(undefined, () => this.#entryDrifts(watched)),
      ...ofHosts,
      ...containersDue.flatMap((each) => readable(each, () => this.#containerDrift(each))),
    ]
  }

  #nodeDrift(withClasses: boolean): Drift[] {
    return this.#sources.nodeDamage(withClasses).map((damage) => ({ ...damage, isInside: false }))
  }

  #watch(request: AttachRequest): Watched[] {
    const { slotOf, find } = this.#sources
    const [slot, endpoint] = [slotOf(request.endpointId), find(request.endpointId)]
    return slot === undefined || !endpoint ? [] : [{ request, endpoint, slot }]
  }

  #readHostEnds(): HostEnds {
    const { socket } = this.#sources
    const links = socket.dump(listLinks('veth')).flatMap((message) => decodeLink(message) ?? [])
    const queues = socket.dump(listQueues()).flatMap((message) => decodeQueue(message) ?? [])
    this.#namespaceOf.clear()
    for (const { index, peerNamespace } of links) {
      if (peerNamespace !== undefined) this.#namespaceOf.set(index - hostInterfaceIndex(0), peerNamespace)
    }
    const roots = queues.filter((queue) => queue.parent === place.root)
    return {
      links: new Map(links.map((link) => [link.index, link])),
      roots: new Map(roots.map((queue) => [queue.index, queue])),
    }
  }

  /** Looks at the entries of all endpoints, each time. */
  #entryDrifts(watched: Watched[]): Drift[] {
    const slots = this.#sources.programs.readSlots(watched.reduce((most, { slot }) => Math.max(most, slot + 1), 0))
    return watched.flatMap((each) => readable(each, () => this.#entryDrift(each, slots)))
  }

  #entryDrift({ endpoint, slot }: Watched, slots: SlotEntries): Drift[] {
    const { programs } = this.#sources
    const { endpoints, forwarding } = programs
    const { entry, key } = this.#expectedOf(endpoint)
    const isRight = isEntryOf(slot, slots, entry)
    const isCounted = slots.found.has(slot)
    // of a wrong entry the kernel cannot tell
    const isForwarded = (isRight && slots.found.get(slot) === true) || forwarding.get(key) === slot
    if (isRight && isForwarded && isCounted) return [] // nothing is made for most
    const drifts: Drift[] = []
    const add = (reason: string, message: string, repair: () => void): void => {
      const { endpointId } = endpoint
      const guarded = async (): Promise<void> => repair()
      drifts.push({
        ...{ endpointId, reason, message, isInside: false },
        repair: () => this.#sources.whileAttached(endpointId, guarded),
      })
    }
    const now = (): AttachedEndpoint => this.#sources.find(endpoint.endpointId)!
    if (!isRight) {
      const message = `the entry of slot ${slot}, by which its frames are judged, is not as it was written`
      add('EntryChanged', message, () => endpoints.set(slotKey(slot), this.#expectedOf(now()).entry))
    }
    if (!isForwarded) {
      const message = `frames to ${endpoint.macAddress} are not forwarded to slot ${slot}`
      add('ForwardingChanged', message, () => forwarding.set(key, slot))
    }
    if (!isCounted) {
      add('CountersLost', `the counters of slot ${slot} are not there; they begin anew`, () =>
        programs.startCounting(slot),
      )
    }
    return drifts
  }

  #expectedOf(endpoint: AttachedEndpoint): { entry: Buffer; key: Buffer } {
    const known = this.#expected.get(endpoint)
    if (known) return known
    const made = { entry: encodeEndpoint(endpoint), key: forwardingKey(endpoint.macAddress, endpoint.vlan) }
    this.#expected.set(endpoint, made)
    return made
  }

  #hostDrift(watched: Watched, { links, roots }: HostEnds): Drift[] {
    const { endpoint, slot } = watched
    const link = links.get(hostInterfaceIndex(slot))
    if (!link) return this.#goneDrift(watched)
    const found = { link, rootQueue: roots.get(link.index), programs: this.#programsOn(link.index) }
    const read = (): Damage[] =>
      this.#hostDamage(slot, this.#sources.find(endpoint.endpointId)!, this.#readHostEnd(slot))
    return this.#drifts(watched, this.#hostDamage(slot, endpoint, found), read, () => this.#sources.socket, false)
  }

  #hostDamage(slot: number, endpoint: AttachedEndpoint, found: HostEnd | undefined): Damage[] {
    const { fromEndpoint } = this.#sources.programs
    const program = { descriptor: fromEndpoint, number: programNumber(fromEndpoint) }
    return found ? hostDamage(slot, endpoint, found, program) : []
  }

  #readHostEnd(slot: number): HostEnd | undefined {
    const { links, roots } = this.#readHostEnds()
    const link = links.get(hostInterfaceIndex(slot))
    return link && { link, rootQueue: roots.get(link.index), programs: this.#programsOn(link.index) }
  }

  #programsOn(index: number): number[] {
    return ingressPrograms(this.#sources.socket, index)
  }

  /** An interface that went with its container's namespace is not missed: the runtime will say so. */
  #goneDrift({ request, endpoint }: Watched): Drift[] {
    if (!isNetworkNamespace(request.netns)) return []
    const { endpointId, hostInterface } = endpoint
    const message = `${hostInterface}, and with it ${request.interfaceName} in the container, has been removed`
    const repair = async (): Promise<void> => this.#sources.forget(endpointId, request)
    return [{ endpointId, reason: 'InterfaceGone', message, isInside: false, isGone: true, repair }]
  }

  #containerDrift(watched: Watched): Drift[] {
    const { request, endpoint } = watched
    const read = (socket: NetlinkSocket): Damage[] => {
      const now = this.#sources.find(endpoint.endpointId)!
      return containerDamage(socket, { ...request, bandwidthCap: now.bandwidthCap }, now.mtu)
    }
    const open = (): NetlinkSocket => NetlinkSocket.openIn(request.netns)
    try {
      using socket = open()
      return this.#drifts(watched, read(socket), read, open, true)
    } catch (error) {
      if (!isNetworkNamespace(request.netns)) return [] // gone, which is for the runtime to say
      throw error
    }
  }

  /** Drifts of damages; each is repaired by what `read` finds wrong then, for the endpoint may have changed since. */
  #drifts(
    { endpoint: { endpointId } }: Watched,
    damages: Damage[],
    read: (socket: NetlinkSocket) => Damage[],
    open: () => NetlinkSocket,
    isInside: boolean,
  ): Drift[] {
    const repair = async (reason: string): Promise<void> => {
      const socket = open()
      try {
        const wrong = read(socket).filter((damage) => damage.reason === reason)
        const refused = await socket.change(wrong.flatMap(({ requests = [] }) => requests))
        const failed = refused.find(({ error }) => !error.isAlreadyThere)
        if (failed) throw failed.error
      } finally {
        if (isInside) socket.close()
      }
    }
    return damages.map(({ reason, message, requests, isExpected }) => ({
      ...{ endpointId, reason, message, isInside },
      ...(isExpected ? { isExpected } : {}),
      ...(requests ? { repair: () => this.#sources.whileAttached(endpointId, () => repair(reason)) } : {}),
    }))
  }
}

/** Whether frames of a slot are judged by this entry. */
function isEntryOf(slot: number, { endpoints }: SlotEntries, entry: Buffer): boolean {
  return endpoints.compare(entry, 0, endpointSize, slot * endpointSize, (slot + 1) * endpointSize) === 0
}

/** What cannot even be looked at is a drift of its own, and keeps nobody from looking at the rest. */
function readable(watched: Watched | undefined, look: () => Drift[]): Drift[] {
  try {
    return look()
  } catch (error) {
    const message = `it cannot be told whether it is as it was made: ${asCarbonadoError(error).message}`
    const whose = watched ? { endpointId: watched.request.endpointId } : {}
    return [{ ...whose, reason: 'NotReadable', message, isInside: false }]
  }
}
