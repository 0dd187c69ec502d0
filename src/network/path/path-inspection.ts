import { isIPv6 } from 'node:net'
import { ExecError, execJson, NotFound } from '../../base/index.ts'
import { formatAddress, parseAddress } from '../addresses/ip-address.ts'
import type { JournalRecord } from '../attachments/index.ts'
import { zeroCounters } from '../counters.ts'
import type { AttachRequest, EndpointCounters, NetworkEngine } from '../engine.ts'
import { inspectContainer, type ContainerState } from '../soft-vf/container-side.ts'
import type { InterfaceFacts, PathFacts, PathProbe, RouteFacts } from './path-facts.ts'
import { probePath } from './path-probe.ts'

/** What somebody wants to know of a way from or to an endpoint. */
export interface PathQuestion {
  endpointId: string
  /** IP address that a packet is for. */
  to?: string
  /** Node at the other end. */
  peer?: string
}

/** What it is asked of. */
export interface PathSources {
  attached(): JournalRecord[]
  engine: Pick<NetworkEngine, 'check' | 'counters' | 'probeHeard'>
  uplink(): PathFacts['uplink']
}

/** Looks at everything on this node that a packet from or to an endpoint meets. Throws NotFound, InvalidInput. */
export async function inspectPath(question: PathQuestion, sources: PathSources): Promise<PathFacts> {
  const { endpointId, peer } = question
  const to = question.to === undefined ? undefined : canonical(question.to)
  const { request } = recordOf(endpointId, sources)
  const { vlan, macAddress, interfaceName } = request
  const heard = peer === undefined || vlan === 0 ? undefined : (sources.engine.probeHeard(peer, vlan) ?? null)
  const { sentPackets, receivedPackets, drops } = countersOf(endpointId, sources)
  const state = stateOf(request)
  return {
    expected: { interfaceName, macAddress, vlan, addresses: request.addresses.map(({ address }) => address) },
    ...(state ? { found: interfaceFacts(state) } : {}),
    problems: await sources.engine.check(request),
    ...(to === undefined || !state ? {} : { route: await findRoute(request, state, to) }),
    uplink: sources.uplink(),
    ...(heard === undefined ? {} : { heardFromPeer: heard }),
    counters: { sentPackets, receivedPackets, drops },
  }
}

/** Sends real frames from an endpoint to an address. Throws NotFound, InvalidInput. */
export async function probeFrom(
  question: Required<Pick<PathQuestion, 'endpointId' | 'to'>>,
  sources: PathSources,
): Promise<PathProbe> {
  const { endpointId } = question
  const to = canonical(question.to)
  const { request } = recordOf(endpointId, sources)
  const state = stateOf(request)
  if (!state)
    throw new NotFound(`${request.interfaceName} is not in the container`, { remedy: 'Restart the container.' })
  const route = await findRoute(request, state, to)
  if ('problem' in route) return { dropped: {} }
  const before = countersOf(endpointId, sources).drops
  const found = await probePath({
    netns: request.netns,
    interfaceIndex: state.link.index,
    macAddress: state.link.macAddress,
    source: route.source,
    nextHop: route.gateway ?? to,
    target: to,
  })
  const after = countersOf(endpointId, sources).drops
  const grown = Object.entries(after).filter(([reason, count]) => count > before[reason as keyof typeof before])
  const dropped = grown.map(([reason, count]) => [reason, count - before[reason as keyof typeof before]])
  return { ...found, dropped: Object.fromEntries(dropped) as PathProbe['dropped'] }
}

function recordOf(endpointId: string, sources: PathSources): JournalRecord {
  const record = sources.attached().find((candidate) => candidate.endpointId === endpointId)
  if (record) return record
  throw new NotFound(`endpoint ${endpointId} is not attached on this node`, { remedy: 'See `dctl endpoint list`.' })
}

function countersOf(endpointId: string, { engine }: PathSources): EndpointCounters {
  return engine.counters().find((reading) => reading.endpointId === endpointId) ?? zeroCounters(endpointId)
}

function stateOf(request: AttachRequest): ContainerState | undefined {
  try {
    return inspectContainer(request)
  } catch {
    return undefined // the namespace has gone
  }
}

function interfaceFacts({ link, addresses }: ContainerState): InterfaceFacts {
  const { isUp, mtu, macAddress } = link
  return { isUp, mtu, macAddress, addresses: addresses.map(({ address }) => address) }
}

/**
 * Asks the container's kernel which way it would take, from the endpoint's own address where the interface still has it:
 * with several interfaces the way depends on the source.
 */
async function findRoute(request: AttachRequest, { addresses }: ContainerState, to: string): Promise<RouteFacts> {
  const own = request.addresses.map(({ address }) => address).find((address) => isIPv6(address) === isIPv6(to))
  const isThere = own !== undefined && addresses.some(({ address }) => address === own)
  try {
    const from = isThere ? ['from', own] : []
    const routes = await execJson<{ dev: string; gateway?: string; prefsrc?: string }[]>([
      'nsenter', `--net=${request.netns}`, 'ip', '-json', 'route', 'get', to, ...from,
    ]) // prettier-ignore
    const [route] = routes ?? []
    const source = isThere ? own : route?.prefsrc
    if (!route || source === undefined) return { problem: 'the container has no address to send from' }
    return { device: route.dev, source, ...(route.gateway === undefined ? {} : { gateway: route.gateway }) }
  } catch (error) {
    if (!(error instanceof ExecError)) throw error
    return { problem: error.stderr.replace(/^RTNETLINK answers: /, '').trim() || error.message }
  }
}

/** The address as it is compared and shown. Throws InvalidInput. */
function canonical(address: string): string {
  return formatAddress(parseAddress(address))
}
