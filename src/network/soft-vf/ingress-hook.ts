import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execJson } from '../../base/index.ts'
import type { BatchProcess } from './batch-process.ts'
import { attachTcx, closeBpf, isTcxSupported, openPinned, tcxInterface, updateLink } from './bpf-system-call.ts'

/** A device that a program is run on. */
export interface HookedDevice {
  name: string
  index: number
}

interface Filter {
  kind: string
  options?: object
}

/**
 * Runs programs on frames that arrive on devices: by tcx links (kernel 6.6 and later), which cost less for each frame
 * and each attach, or by clsact filters. Links are pinned, so that both outlive the agent.
 */
export class IngressHook {
  readonly #pins: string
  readonly #tc: BatchProcess
  readonly #tcx = isTcxSupported()

  /** `pins` is a folder in a bpffs for the links. */
  constructor(pins: string, tc: BatchProcess) {
    this.#pins = pins
    this.#tc = tc
  }

  /** Runs the pinned program on the device from now on, instead of an earlier one if there is one; no frame is missed. */
  async attach(device: HookedDevice, program: string): Promise<void> {
    if (!this.#tcx) return this.#attachFilter(device, program)
    const path = this.#linkPath(device)
    if (this.#replace(device, path, program)) return
    mkdirSync(this.#pins, { recursive: true })
    rmSync(path, { force: true })
    attachTcx(program, device.index, path)
  }

  /** Names of the devices with a pinned link, deleted ones included; none where filters are used. */
  devices(): string[] {
    return existsSync(this.#pins) ? readdirSync(this.#pins) : []
  }

  /** Forgets a device that was deleted. */
  forget(device: HookedDevice): void {
    if (this.#tcx) rmSync(this.#linkPath(device), { force: true })
  }

  /** Whether a program runs on the device. */
  async isAttached(device: HookedDevice): Promise<boolean> {
    if (this.#tcx) return this.#attachedTo(this.#linkPath(device)) === device.index
    const show = ['tc', '-json', 'filter', 'show', 'dev', device.name, 'ingress'] as const
    const filters = await execJson<Filter[]>([...show]).catch(() => [])
    return filters?.some((filter) => filter.kind === 'bpf' && filter.options) ?? false
  }

  #replace(device: HookedDevice, path: string, program: string): boolean {
    if (this.#attachedTo(path) !== device.index) return false
    updateLink(path, program)
    return true
  }

  #attachedTo(path: string): number | undefined {
    if (!existsSync(path)) return undefined
    const link = openPinned(path)
    try {
      return tcxInterface(link)
    } finally {
      closeBpf(link)
    }
  }

  async #attachFilter({ name }: HookedDevice, program: string): Promise<void> {
    await this.#tc.run([`qdisc add dev ${name} clsact`]) // fails when it is there, which is as well
    await this.#tc.must([
      `filter replace dev ${name} ingress pref 1 handle 1 protocol all bpf direct-action object-pinned ${program}`,
    ])
  }

  #linkPath(device: HookedDevice): string {
    return join(this.#pins, device.name)
  }
}
