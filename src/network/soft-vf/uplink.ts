import { execJson, NotFound } from '../../base/index.ts'

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
