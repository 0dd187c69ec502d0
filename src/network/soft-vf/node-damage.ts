import type { NetlinkSocket } from '../netlink/index.ts'
import { isUplinkHooked } from './ingress-hook.ts'
import type { Limiter } from './limiter.ts'
import type { PinKeeper } from './pin-keeper.ts'
import type { Programs } from './programs.ts'
import type { UplinkShaper } from './uplink-shaper.ts'

/** What of a node's datapath belongs to no endpoint; the engine owns it. */
export interface NodeParts {
  socket: NetlinkSocket
  uplink: { name: string; index: number }
  programs: Programs
  shaper: UplinkShaper
  limiter: Limiter
  pins: PinKeeper
  /** Where the link of the uplink's program is pinned. */
  linkPath: string
  /** Runs the program on the uplink. */
  hook: () => Promise<void>
}

/** A part of a node's datapath that is not as it was made, and what makes it right. */
export interface NodeDamage {
  reason: string
  message: string
  repair: () => Promise<void>
}

/** Compares the parts of a node that all endpoints share with what was made; classes only if asked. Reads only. */
export function findNodeDamage(parts: NodeParts, withClasses: boolean): NodeDamage[] {
  const pins = pinDamage(parts)
  if (pins.length > 0) return pins // what else there is can be told when they are back
  return [...uplinkDamage(parts), ...(withClasses ? classDamage(parts) : [])]
}

function pinDamage({ pins }: NodeParts): NodeDamage[] {
  const missing = pins.missing()
  if (missing.length === 0) return []
  const message = `pins that the next agent needs are not there: ${missing.slice(0, 3).join(', ')}`
  return [{ reason: 'PinMissing', message, repair: async () => pins.repair() }]
}

function uplinkDamage({ socket, uplink, programs, shaper, linkPath, hook }: NodeParts): NodeDamage[] {
  const { name, index } = uplink
  const damage: NodeDamage[] = []
  if (!programs.isConfigured(index, shaper.isShaped)) {
    damage.push({
      reason: 'ConfigurationChanged',
      message: `the programs were told another uplink than ${name}, or another state of its classes`,
      repair: async () => programs.configure(index, shaper.isShaped),
    })
  }
  if (!isUplinkHooked(socket, index, programs.fromWireNumber, linkPath)) {
    const message = `nothing that arrives on ${name} is delivered: the program is not there`
    damage.push({ reason: 'UplinkProgramMissing', message, repair: hook })
  }
  return damage
}

function classDamage({ shaper, limiter }: NodeParts): NodeDamage[] {
  const describe = (reason: string, found: string[], repair: () => Promise<void>): NodeDamage[] =>
    found.length === 0 ? [] : [{ reason, message: found.slice(0, 3).join('; '), repair }]
  return [
    ...describe('ClassesChanged', shaper.findDamage(), () => shaper.repair()),
    ...describe('LimiterChanged', limiter.findDamage(), () => limiter.repair()),
  ]
}
