import { createHash } from 'node:crypto'
import { formatAddress, parseAddress, parseCidr } from '../addresses/index.ts'

/**
 * The address of a node's legs: of a link-local kind, the same in all VLANs, and no other node's. It is looked for from a
 * place that follows from the node's uid, so that two clusters on one VLAN rarely choose the same. Undefined when all of
 * `range` (CIDR) are taken. A pure function.
 */
export function chooseHostAddress(range: string, uid: string, taken: ReadonlySet<string>): string | undefined {
  const { family, first, last } = parseCidr(range)
  const [lowest, count] = [first + 1n, last - first - 1n] // neither the first nor the last
  if (count <= 0n) return undefined
  const start = BigInt(`0x${createHash('sha256').update(uid).digest('hex').slice(0, 12)}`) % count
  for (let step = 0n; step < count; step++) {
    const address = formatAddress({ family, value: lowest + ((start + step) % count) })
    if (!taken.has(address)) return address
  }
  return undefined
}

/** Whether an address lies in a CIDR and is not one of its ends. */
export function isWithin(range: string, address: string): boolean {
  const { family, first, last } = parseCidr(range)
  const parsed = parseAddress(address)
  return parsed.family === family && parsed.value > first && parsed.value < last
}

/** MAC of a node's legs: locally administered, always the same for a node. */
export function hostMacAddress(uid: string): string {
  const octets = [...createHash('sha256').update(`leg of ${uid}`).digest().subarray(0, 6)]
  octets[0] = (octets[0]! & 0b1111_1100) | 0b0000_0010
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')
}
