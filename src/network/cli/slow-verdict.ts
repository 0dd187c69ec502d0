import { formatRate } from '../../guarantee/index.ts'
import { dropReasons, type DropReason } from '../engine.ts'
import type { LiveEndpoint, LiveUplink } from '../live-endpoint.ts'
import { measuredRate } from './measured-rate.ts'

/** What is known of an endpoint when it is asked why it is slow. */
export interface SlowFacts {
  /** As `stateOf` names it. */
  state: string
  nodeName?: string
  /** Why the agent could not be asked; then nothing below is known. */
  agentProblem?: string
  /** Absent when the agent does not have it. */
  live?: LiveEndpoint
  uplink?: LiveUplink
  /** Receivers that the node is held back from, as people know them. */
  held?: HeldEndpoint[]
}

/** A receiver that endpoints of a node may send only so much to; `rate` in bits per second. */
export interface HeldEndpoint {
  name: string
  nodeName: string
  rate: number
}

/** The answer in plain words. `code` is a stable word for programs. */
export interface SlowVerdict {
  code:
    | 'NotAttached'
    | 'AgentSilent'
    | 'NotOnNode'
    | 'UplinkDown'
    | 'LinkDown'
    | 'Spoofed'
    | 'Refused'
    | 'OwnCap'
    | 'ReceiverLimited'
    | 'FloorMissed'
    | 'ReceiveFloorMissed'
    | 'UplinkFullWithFloor'
    | 'UplinkFullBestEffort'
    | 'UplinkFullReceiving'
    | 'DemandBelowFloor'
    | 'NothingSeen'
  sentence: string
  /** What to do. */
  advice: string
}

/** From this share of a limit on it is what holds the traffic: shapers and headers take the rest. */
const nearLimit = 0.9
/** From this share on a floor counts as delivered, as in the kernel's windows. */
const delivered = 0.95

const spoofReasons: DropReason[] = ['spoofed-mac', 'spoofed-ip', 'spoofed-arp', 'spoofed-nd']

/** Says why an endpoint is slow, as far as its node can see: the first thing that explains it. A pure function. */
export function explainSlowness(facts: SlowFacts): SlowVerdict {
  const { state, nodeName, agentProblem, live, uplink, held = [] } = facts
  if (state !== 'Attached') return notAttached(state)
  if (agentProblem !== undefined) return agentSilent(nodeName, agentProblem)
  if (!live) return notOnNode(nodeName)
  return (
    brokenLink(live, uplink) ??
    droppedFrames(live) ??
    ownCap(live) ??
    limitedReceiver(live, held) ??
    missedFloor(live, uplink) ??
    missedReceiveFloor(live, nodeName) ??
    fullUplink(live, uplink) ??
    heldBack(live, held) ??
    lowDemand(live) ??
    nothingSeen
  )
}

const nothingSeen: SlowVerdict = {
  code: 'NothingSeen',
  sentence: 'nothing wrong seen on this side',
  advice: 'Look at the other end of its traffic in the same way, and at the way there: dctl network trace.',
}

function notAttached(state: string): SlowVerdict {
  return {
    code: 'NotAttached',
    sentence: `no container uses it: it is ${state}`,
    advice: state === 'Refused' ? 'The refusal says what to do.' : 'Start a container that asks for it.',
  }
}

function agentSilent(nodeName: string | undefined, problem: string): SlowVerdict {
  return {
    code: 'AgentSilent',
    sentence: `the agent of node ${nodeName ?? '(unknown)'} does not answer, so nothing is known: ${problem}`,
    advice: `Traffic goes on without it. See dctl node health ${nodeName ?? ''}`.trimEnd(),
  }
}

function notOnNode(nodeName: string | undefined): SlowVerdict {
  return {
    code: 'NotOnNode',
    sentence: `node ${nodeName ?? '(unknown)'} does not have it attached, although its object says so`,
    advice: 'The agent repairs that by itself within seconds; if not, restart the container.',
  }
}

function brokenLink(live: LiveEndpoint, uplink: LiveUplink | undefined): SlowVerdict | undefined {
  if (!live.isLinkUp) {
    return {
      code: 'LinkDown',
      sentence: `link is down: ${live.interfaceName} of the container is not up`,
      advice: `Set it up in the container (ip link set ${live.interfaceName} up), or restart the container.`,
    }
  }
  if (!uplink || uplink.carrier) return undefined
  return {
    code: 'UplinkDown',
    sentence: `link is down: the node's uplink ${uplink.interface} has no carrier`,
    advice: 'Check the cable and the switch port. Containers of the same node still reach each other.',
  }
}

function droppedFrames({ rates }: LiveEndpoint): SlowVerdict | undefined {
  const isSpoof = (reason: DropReason): boolean => spoofReasons.includes(reason)
  const rising = dropReasons.filter(
    (reason) => reason !== 'cap' && reason !== 'receiver-limit' && (rates.drops[reason] ?? 0) > 0,
  )
  if (rising.length === 0) return undefined
  const list = rising.map((reason) => `${reason} ${rates.drops[reason]} a second`).join(', ')
  if (rising.some(isSpoof)) {
    return {
      code: 'Spoofed',
      sentence: `frames are being dropped as spoofed: ${list}`,
      advice:
        'The container sends with a MAC or address that is not its own: a bridge, a VPN or a fixed address in it.',
    }
  }
  return {
    code: 'Refused',
    sentence: `frames are being dropped: ${list}`,
    advice: 'The container sends what endpoints may not send; docs/troubleshooting.md says what each reason means.',
  }
}

function ownCap({ bandwidthCap, rates }: LiveEndpoint): SlowVerdict | undefined {
  if (bandwidthCap === undefined) return undefined
  const isNear = Math.max(rates.sent, rates.received) >= bandwidthCap * nearLimit
  if (!isNear && !rates.drops.cap) return undefined
  return {
    code: 'OwnCap',
    sentence: `held by its own cap of ${formatRate(bandwidthCap)}`,
    advice:
      'Give it a tier with a higher cap, or raise that of the tier: dctl perf-tier update TIER -B RATE (0 for none).',
  }
}

const receiverAdvice =
  'Describe the endpoint that receives: a tier with a higher floor for it, or another node, gives it more.'

/** The node of a receiver has asked this one to hold back, because floors there would be missed. */
function limitedReceiver({ rates }: LiveEndpoint, held: HeldEndpoint[]): SlowVerdict | undefined {
  const lost = rates.drops['receiver-limit'] ?? 0
  if (lost === 0) return undefined
  const whom = held.length === 0 ? '' : ` (${heldText(held)})`
  return {
    code: 'ReceiverLimited',
    sentence: `the receiver is limited${whom}: ${lost} frames a second are too many for it`,
    advice: receiverAdvice,
  }
}

/** Frames for a receiver that is held back wait without being lost, so nothing else shows it. */
function heldBack({ rates }: LiveEndpoint, held: HeldEndpoint[]): SlowVerdict | undefined {
  if (held.length === 0 || rates.sent === 0) return undefined
  return {
    code: 'ReceiverLimited',
    sentence: `the receiver is limited, if it is one of these: ${heldText(held)}`,
    advice: receiverAdvice,
  }
}

function heldText(held: HeldEndpoint[]): string {
  const [first, second] = held.map(
    ({ name, nodeName, rate }) => `node ${nodeName} takes ${measuredRate(rate)} for ${name}`,
  )
  const rest = held.length > 2 ? ` and ${held.length - 2} more` : ''
  return `${first}${second === undefined ? '' : `, ${second}`}${rest}`
}

function missedFloor(
  { lastSeconds, bandwidthFloor, rates }: LiveEndpoint,
  uplink?: LiveUplink,
): SlowVerdict | undefined {
  const missed = lastSeconds ? lastSeconds.withDemand - lastSeconds.attained : 0
  if (missed <= 0 || bandwidthFloor === 0) return undefined
  const link = uplink ? ` of ${uplink.interface}, ${formatRate(uplink.rate)},` : ''
  return {
    code: 'FloorMissed',
    sentence:
      `it wants its floor of ${formatRate(bandwidthFloor)} and gets ${measuredRate(rates.delivered)}: ` +
      `the node missed it in ${missed} of the last ${lastSeconds!.withDemand} seconds with demand`,
    advice: `Is the declared rate${link} more than the link carries, or does anything on the node send past the shaper?`,
  }
}

function missedReceiveFloor({ receive, bandwidthFloor }: LiveEndpoint, nodeName = ''): SlowVerdict | undefined {
  const windows = receive?.lastSeconds
  const missed = windows ? windows.withDemand - windows.attained : 0
  if (missed <= 0) return undefined
  return {
    code: 'ReceiveFloorMissed',
    sentence:
      `it may receive its floor of ${formatRate(bandwidthFloor)} and gets ${measuredRate(receive!.delivered)}: ` +
      `it was missed in ${missed} of the last ${windows!.withDemand} seconds with demand`,
    advice:
      `Is there more from outside the cluster than floors leave, or a sender that cannot be told? dctl node check ${nodeName}`.trimEnd(),
  }
}

function fullUplink(live: LiveEndpoint, uplink: LiveUplink | undefined): SlowVerdict | undefined {
  if (!uplink || uplink.rate <= 0) return undefined
  const advice = 'See who competes, above; give it a tier with a higher floor, or move one of them to another node.'
  if (uplink.sent >= uplink.rate * nearLimit && live.rates.sent > 0) {
    const busy = `the node's uplink is full (${measuredRate(uplink.sent)} of ${formatRate(uplink.rate)})`
    if (live.bandwidthFloor === 0) {
      const sentence = `${busy} and it has no floor: it gets what the others leave`
      return { code: 'UplinkFullBestEffort', sentence, advice }
    }
    if (live.rates.delivered < live.bandwidthFloor * delivered) return undefined // it does not want more
    return { code: 'UplinkFullWithFloor', sentence: `${busy} and it gets its floor`, advice }
  }
  if (uplink.received < uplink.rate * nearLimit || live.rates.received === 0) return undefined
  const full = `the node's uplink is full of what its containers receive (${measuredRate(uplink.received)} of ${formatRate(uplink.rate)})`
  const getsFloor = live.bandwidthFloor > 0 && live.rates.received >= live.bandwidthFloor * delivered
  return {
    code: getsFloor ? 'UplinkFullWithFloor' : 'UplinkFullReceiving',
    sentence: getsFloor ? `${full} and it gets its floor` : full,
    advice:
      'More is sent to this node than its link takes. Move a receiver to another node, or hold the senders to caps.',
  }
}

function lowDemand({ bandwidthFloor, rates }: LiveEndpoint): SlowVerdict | undefined {
  // without classes on the node what it sends to its own neighbours is all there is to see of its demand
  const sends = Math.max(rates.sent, rates.delivered)
  if (bandwidthFloor === 0 || sends >= bandwidthFloor * delivered) return undefined
  return {
    code: 'DemandBelowFloor',
    sentence: `its demand is below its floor: it sends ${measuredRate(sends)} of the ${formatRate(bandwidthFloor)} it may count on`,
    advice: 'Nothing holds it on this side: the program does not send more, or whoever receives from it is slower.',
  }
}
