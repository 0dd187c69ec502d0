import { exec, execJson, NotFound } from '../../base/index.ts'
import type { BatchProcess } from './batch-process.ts'
import { uplinkClassCommands, uplinkCommands } from './shaping.ts'

/** The device that endpoints send through. */
export interface UplinkState {
  index: number
  mtu: number
}

interface LinkReport {
  ifname: string
  ifindex: number
  mtu: number
}

/** Looks the uplink up. Throws NotFound when the node has no such device. */
export async function inspectUplink(device: string): Promise<UplinkState> {
  const links = await execJson<LinkReport[]>(['ip', '-json', 'link', 'show'])
  const link = links?.find((candidate) => candidate.ifname === device)
  if (!link) {
    throw new NotFound(`the node has no network device ${device}`, {
      remedy: `Set spec.uplinks.pods.interface of the Node to one of: ${links?.map((l) => l.ifname).join(', ')}.`,
    })
  }
  return { index: link.ifindex, mtu: link.mtu }
}

interface QdiscReport {
  kind: string
  handle: string
  root?: boolean
}

/** Handles of the classes on a device, such as 1:7. (iproute2 6.1 prints classes as text also when asked for JSON.) */
export async function classHandles(device: string): Promise<string[]> {
  const { stdout } = await exec(['tc', 'class', 'show', 'dev', device])
  return [...stdout.matchAll(/^class htb (\S+)/gm)].map((match) => match[1]!)
}

/**
 * Makes the tree of classes on the uplink, or sets its rates when it is there: replacing it would drop what waits,
 * changing a class touches no frame.
 */
export async function ensureUplinkTree(tc: BatchProcess, device: string, linkRate: number): Promise<void> {
  const qdiscs = (await execJson<QdiscReport[]>(['tc', '-json', 'qdisc', 'show', 'dev', device])) ?? []
  const tree = qdiscs.some((qdisc) => qdisc.root && qdisc.kind === 'htb' && qdisc.handle === '1:')
  await tc.must(tree ? uplinkClassCommands(device, linkRate) : uplinkCommands(device, linkRate))
}
