import { execJson, NotFound } from '../../base/index.ts'
import type { BatchProcess } from './batch-process.ts'
import { linkShare, uplinkCommands } from './shaping.ts'

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

interface ClassReport {
  handle: string
  rate: number
}

/** Makes the tree of classes on the uplink unless it is there with this link rate: replacing it would drop what waits. */
export async function ensureUplinkTree(tc: BatchProcess, device: string, linkRate: number): Promise<void> {
  const qdiscs = (await execJson<QdiscReport[]>(['tc', '-json', 'qdisc', 'show', 'dev', device])) ?? []
  const tree = qdiscs.some((qdisc) => qdisc.root && qdisc.kind === 'htb' && qdisc.handle === '1:')
  if (!qdiscs.some((qdisc) => qdisc.kind === 'clsact')) await tc.must([`qdisc add dev ${device} clsact`])
  if (!tree) return tc.must(uplinkCommands(device, linkRate))
  const classes = await execJson<ClassReport[]>(['tc', '-json', 'class', 'show', 'dev', device])
  const link = classes?.find((entry) => entry.handle === '1:ffff')
  const wanted = Math.round((linkRate * linkShare) / 8)
  if (!link || Math.abs(link.rate - wanted) > wanted / 1000) await tc.must(uplinkCommands(device, linkRate).slice(1))
}

/** tc command that runs a pinned program on every frame that arrives on a device. */
export function ingressFilterCommand(device: string, program: string): string {
  return `filter replace dev ${device} ingress pref 1 handle 1 protocol all bpf direct-action object-pinned ${program}`
}
