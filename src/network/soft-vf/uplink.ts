import { NotFound } from '../../base/index.ts'
import { decodeLink, listLinks, type NetlinkSocket } from '../netlink/index.ts'

/** The device that endpoints send through. */
export interface UplinkState {
  index: number
  mtu: number
}

/** Looks the uplink up. Throws NotFound when the node has no such device. */
export function inspectUplink(socket: NetlinkSocket, device: string): UplinkState {
  const links = socket.dump(listLinks()).map(decodeLink)
  const link = links.find((candidate) => candidate?.name === device)
  if (!link) {
    throw new NotFound(`the node has no network device ${device}`, {
      remedy: `Set spec.uplinks.pods.interface of the Node to one of: ${links.map((each) => each?.name).join(', ')}.`,
    })
  }
  return { index: link.index, mtu: link.mtu }
}
