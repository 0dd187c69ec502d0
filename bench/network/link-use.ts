import { execJson, Unavailable } from '../../src/base/index.ts'
import { places } from '../../lab/places.ts'
import { insideNetns } from '../../lab/processes.ts'

/** What a node has sent or received over its link, as the switch counts it. */
export interface LinkReading {
  /** Milliseconds of performance.now(). */
  at: number
  /** Layer-2 bytes without VLAN tag, each segment of a large packet with headers of its own. */
  bytes: number
  frames: number
  /** Frames that the port had no room for. */
  drops: number
}

/**
 * Bytes that a frame costs on a wire beside those that are counted: preamble and start of frame 8, checksum 4, gap
 * between frames 12 (IEEE 802.3), and the VLAN tag 4, which the kernel carries beside the frame.
 */
const uncountedBytes = 8 + 4 + 12 + 4

interface QdiscReport {
  kind: string
  bytes: number
  packets: number
  drops: number
}

/**
 * Reads the counters of the queue behind the port into which a node sends, or of the one from which it receives: what it
 * lets through has been on the link.
 * A queue counts large packets by their segments; the counters of the device do not.
 */
export async function readLink(node: string, direction: 'sent' | 'received' = 'sent'): Promise<LinkReading> {
  const device = direction === 'sent' ? `${node}-in` : node
  const command = ['tc', '-statistics', '-json', 'qdisc', 'show', 'dev', device]
  const queues = await execJson<QdiscReport[]>(insideNetns(places.switchNetns, command))
  const queue = queues?.find(({ kind }) => kind === 'tbf')
  if (!queue) throw new Unavailable(`the switch port of ${node} has no queue`, { remedy: 'Use a lab with a rate.' })
  return { at: performance.now(), bytes: queue.bytes, frames: queue.packets, drops: queue.drops }
}

/** Share of a link in bits per second that was used between two readings, in wire bytes. */
export function linkUse(before: LinkReading, after: LinkReading, rate: number): number {
  const wireBytes = after.bytes - before.bytes + (after.frames - before.frames) * uncountedBytes
  return (wireBytes * 8 * 1000) / (after.at - before.at) / rate
}
