import { createHash } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { Unavailable, WorkQueue, type Logger } from '../../base/index.ts'
import { Network, type Node } from '../../api/index.ts'
import { createInformer, type Informer, type ResourceStore } from '../../store/index.ts'
import type { AttachRequest, AttachedEndpoint, EndpointRoute, NetworkEngine } from '../engine.ts'
import { NetlinkSocket } from '../netlink/index.ts'
import { applyForwardingRules, legPrefix } from './forwarding-rules.ts'
import { hostMacAddress } from './host-address.ts'
import { syncLegRoutes } from './leg-routes.ts'
import { planLegs, type LegPlan, type WantedLeg } from './plan-legs.ts'

/** What a node and its pods are to each other beside the networks. */
export interface HostPathSettings {
  /** CIDR that the addresses of all nodes' legs are from; link-local, and another one for another cluster on a VLAN. */
  nodeAddresses: string
  /** CIDRs of Services. */
  services: string[]
  /** CIDRs that pods reach through their node beside Services, such as that of the nodes themselves. */
  reachable?: string[]
}

/** What the host path works with. */
export interface HostPathOptions {
  nodeName: string
  settings: HostPathSettings
  engine: NetworkEngine
  store: ResourceStore
  logger: Logger
  /** Milliseconds that a container waits for its node to be ready. */
  patience?: number
}

/** Milliseconds between looks at whether all is still as it was made. */
const interval = 30_000
const ownNamespace = '/proc/self/ns/net'
const everything = 'legs'

/**
 * The node's own legs in the VLANs of pods, by which it reaches them (probes, NodePorts) and they reach Services through
 * it. A leg is attached like an endpoint and has no object: an address that only nodes have serves in all VLANs.
 * Level-triggered: what the kernel has is compared with the networks that there are, also after a restart.
 */
export class HostPath {
  readonly name = 'host path'
  readonly #options: HostPathOptions
  readonly #networks: Informer<Network>
  readonly #queue: WorkQueue
  readonly #ready = new Set<() => void>()
  #socket: NetlinkSocket | undefined
  #address: string | undefined
  #macAddress: string | undefined
  #isSynced = false
  #plan: LegPlan | undefined

  constructor(options: HostPathOptions) {
    const { store, logger } = options
    this.#options = options
    this.#networks = createInformer(store, Network, { logger })
    this.#queue = new WorkQueue(() => this.#reconcile(), {
      maximumRetryDelay: 5_000,
      onError: (_, error) => logger.error({ err: error }, 'the legs of this node could not be made'),
    })
    this.#networks.onChange(() => this.#isSynced && this.#queue.add(everything))
  }

  start(): void {
    this.#socket = NetlinkSocket.open()
    void this.#networks.start().then(() => {
      this.#isSynced = true
      this.#queue.add(everything)
    })
  }

  /** Stops; the legs stay, and so does what goes through them. */
  async stop(): Promise<void> {
    await this.#networks.stop()
    await this.#queue.stop()
    this.#socket?.close()
  }

  /** Takes note of the address that control has given this node. */
  learn({ metadata: { uid }, status }: Node): void {
    if (uid === undefined || status?.hostAddress === undefined || status.hostAddress === this.#address) return
    this.#address = status.hostAddress
    this.#macAddress = hostMacAddress(uid)
    if (this.#isSynced) this.#queue.add(everything)
  }

  /**
   * Routes that a pod in a network needs to reach Services: none when the node has no leg in it. Throws Unavailable when
   * it is not known in time whether it has.
   */
  async routesFor(networkName: string): Promise<EndpointRoute[]> {
    const until = performance.now() + (this.#options.patience ?? 3_000)
    while (!this.#isDecided(networkName)) {
      if (performance.now() > until) throw this.#notReady(networkName)
      await this.#nextRound(until)
    }
    const { nodeAddresses, services, reachable = [] } = this.#options.settings
    if (this.#plan?.excluded.has(networkName)) return []
    const throughNode = [...services, ...reachable].map((destination) => ({ destination, gateway: this.#address! }))
    return [{ destination: nodeAddresses }, ...throughNode]
  }

  #isDecided(networkName: string): boolean {
    const { excluded, legs } = this.#plan ?? { excluded: new Map(), legs: [] }
    return excluded.has(networkName) || legs.some(({ networkNames }) => networkNames.includes(networkName))
  }

  async #nextRound(until: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ready.add(resolve)
    const timer = setTimeout(resolve, Math.max(0, until - performance.now()))
    await promise
    clearTimeout(timer)
    this.#ready.delete(resolve)
  }

  #notReady(networkName: string): Unavailable {
    const why = this.#address === undefined ? 'control has given it no address for that' : 'it has no leg there yet'
    return new Unavailable(`the node does not reach the pods of network ${networkName}: ${why}`, {
      remedy: 'Try again; if it stays so, look at the log of the agent and whether control runs.',
    })
  }

  async #reconcile(): Promise<{ requeueAfter: number }> {
    const { settings, logger, engine } = this.#options
    await applyForwardingRules(settings.reachable ?? [])
    const present = (await engine.attached()).filter(({ isHostLeg }) => isHostLeg)
    if (this.#address === undefined) return { requeueAfter: interval }
    const plan = planLegs(this.#networks.items(), addressesOfNode())
    await Promise.all(present.filter((leg) => !this.#isWanted(leg, plan)).map((leg) => engine.detach(leg.endpointId)))
    const made = await Promise.allSettled(plan.legs.map((leg) => this.#make(leg)))
    const legs = plan.legs.filter((_, index) => made[index]!.status === 'fulfilled')
    for (const [name, reason] of plan.excluded) {
      if (this.#plan?.excluded.get(name) === reason) continue
      logger.notice({ network: name, reason }, 'the node does not reach the pods of this network, and they no Services')
    }
    this.#plan = { legs, excluded: plan.excluded }
    for (const resolve of this.#ready) resolve()
    const failed = made.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
    return { requeueAfter: interval }
  }

  #isWanted({ vlan, addresses, macAddress }: AttachedEndpoint, { legs }: LegPlan): boolean {
    const isOurs = addresses[0] === this.#address && macAddress === this.#macAddress
    return isOurs && legs.some((leg) => leg.vlan === vlan)
  }

  async #make({ vlan, destinations }: WantedLeg): Promise<void> {
    const { engine, logger } = this.#options
    const request = this.#requestFor(vlan)
    await engine.attach(request)
    const problems = await engine.check(request)
    if (problems.length > 0) {
      logger.warn({ vlan, problems }, 'the leg of this node is not as it was made; it is made anew')
      await engine.detach(request.endpointId)
      await engine.attach(request)
    }
    await syncLegRoutes(this.#socket!, request.interfaceName, destinations)
  }

  #requestFor(vlan: number): AttachRequest {
    const { nodeName } = this.#options
    return {
      endpointId: legId(nodeName, vlan),
      endpointName: `node/${nodeName}`,
      containerId: 'node',
      netns: ownNamespace,
      interfaceName: `${legPrefix}${vlan}`,
      macAddress: this.#macAddress!,
      addresses: [{ address: this.#address!, prefixLength: 32 }],
      vlan,
      bandwidthFloor: 0,
      isHostLeg: true,
    }
  }
}

/** In the form of a uid; the same for a VLAN of a node for ever. */
function legId(nodeName: string, vlan: number): string {
  const hash = createHash('sha256').update(`leg ${nodeName} ${vlan}`).digest('hex')
  return hash.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function addressesOfNode(): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => !name.startsWith(legPrefix))
    .flatMap(([, addresses = []]) => addresses.map(({ address }) => address))
}
