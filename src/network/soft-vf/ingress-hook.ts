import { existsSync, rmSync } from 'node:fs'
import { execJson } from '../../base/index.ts'
import type { BatchProcess } from './batch-process.ts'
import { attachTcx, closeBpf, isTcxSupported, openPinned, tcxInterface, updateLink } from './bpf-system-call.ts'

/**
 * tc commands that run a pinned program on every frame that arrives on a device without one. A clsact filter and not a
 * tcx link: attaching a link waits for RCU some 12 ms and holds up all other changes of interfaces meanwhile.
 */
export function ingressFilterCommands(device: string, program: string): string[] {
  return [`qdisc add dev ${device} clsact`, replaceIngressFilterCommand(device, program)]
}

/** tc command that points the filter of a device at another program; no frame in between sees neither. */
export function replaceIngressFilterCommand(device: string, program: string): string {
  return `filter replace dev ${device} ingress pref 1 handle 1 protocol all bpf direct-action object-pinned ${program}`
}

/** Whether a program runs on what arrives on a device by a filter. */
export async function hasIngressFilter(device: string): Promise<boolean> {
  const show = ['tc', '-json', 'filter', 'show', 'dev', device, 'ingress'] as const
  const filters = await execJson<{ kind: string; options?: object }[]>([...show]).catch(() => [])
  return filters?.some((filter) => filter.kind === 'bpf' && filter.options) ?? false
}

/**
 * Runs a pinned program on the uplink from now on, instead of an earlier one if there is one. Where the kernel has tcx
 * (6.6), by a link pinned at `linkPath`: it costs less for each frame, and the uplink is attached to once only.
 */
export async function hookUplink(
  tc: BatchProcess,
  uplink: { name: string; index: number },
  program: string,
  linkPath: string,
): Promise<void> {
  if (!isTcxSupported()) {
    await tc.run([`qdisc add dev ${uplink.name} clsact`]) // fails when it is there, which is as well
    return tc.must([replaceIngressFilterCommand(uplink.name, program)])
  }
  if (linkedInterface(linkPath) === uplink.index) return updateLink(linkPath, program)
  rmSync(linkPath, { force: true })
  attachTcx(program, uplink.index, linkPath)
}

function linkedInterface(linkPath: string): number | undefined {
  if (!existsSync(linkPath)) return undefined
  const link = openPinned(linkPath)
  try {
    return tcxInterface(link)
  } finally {
    closeBpf(link)
  }
}
