import { existsSync, rmSync } from 'node:fs'
import {
  addHooks,
  decodeFilterProgram,
  listIngressFilters,
  putIngressFilter,
  type NetlinkRequest,
  type NetlinkSocket,
} from '../netlink/index.ts'
import { attachTcx, closeBpf, isTcxSupported, openPinned, tcxLink, updateLink } from './bpf-system-call.ts'

/**
 * Requests that run a program, given as a descriptor, on every frame that arrives on a device without one. A clsact
 * filter and not a tcx link: attaching a link waits for RCU some 12 ms and holds up all other changes of interfaces.
 */
export function ingressFilter(device: string, index: number, program: number): NetlinkRequest[] {
  return [addHooks(device, index), putIngressFilter(device, index, program)]
}

/** The kernel's numbers of the programs that run on what arrives on a device by a filter. */
export function ingressPrograms(socket: NetlinkSocket, index: number): number[] {
  return socket
    .dump(listIngressFilters(index))
    .map(decodeFilterProgram)
    .filter((program) => program !== undefined)
}

/**
 * Runs a pinned program on the uplink from now on, instead of an earlier one if there is one. Where the kernel has tcx
 * (6.6), by a link pinned at `linkPath`: it costs less for each frame, and the uplink is attached to once only.
 */
export async function hookUplink(
  socket: NetlinkSocket,
  uplink: { name: string; index: number },
  program: string,
  linkPath: string,
): Promise<void> {
  if (!isTcxSupported()) {
    await socket.change([addHooks(uplink.name, uplink.index)]) // refused when they are there, which is as well
    const descriptor = openPinned(program)
    try {
      return await socket.must([putIngressFilter(uplink.name, uplink.index, descriptor)])
    } finally {
      closeBpf(descriptor)
    }
  }
  if (linkAt(linkPath)?.interfaceIndex === uplink.index) return updateLink(linkPath, program)
  rmSync(linkPath, { force: true })
  attachTcx(program, uplink.index, linkPath)
}

/** Whether a program, by the kernel's number, runs on what arrives on the uplink; as `hookUplink` leaves it. */
export function isUplinkHooked(socket: NetlinkSocket, index: number, program: number, linkPath: string): boolean {
  if (!isTcxSupported()) return ingressPrograms(socket, index).includes(program)
  const link = linkAt(linkPath)
  return link?.interfaceIndex === index && link.program === program
}

function linkAt(linkPath: string): ReturnType<typeof tcxLink> | undefined {
  if (!existsSync(linkPath)) return undefined
  const link = openPinned(linkPath)
  try {
    return tcxLink(link)
  } finally {
    closeBpf(link)
  }
}
