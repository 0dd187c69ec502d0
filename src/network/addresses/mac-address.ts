import { randomBytes } from 'node:crypto'
import { InvalidInput } from '../../base/index.ts'

/** A new random MAC: unicast and locally administered, so that it cannot be a vendor's. */
export function randomMacAddress(random: (size: number) => Uint8Array = randomBytes): string {
  const octets = [...random(6)]
  octets[0] = (octets[0]! & 0b1111_1100) | 0b0000_0010
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')
}

/** The 12 hexadecimal digits of a MAC. */
export function hexOfMac(macAddress: string): string {
  return macAddress.replaceAll(':', '').toLowerCase()
}

/** Throws InvalidInput unless the MAC can belong to an interface: six octets, not multicast or broadcast, not zero. */
export function checkMacAddress(macAddress: string): void {
  const remedy = 'Use a unicast MAC such as 02:00:00:00:00:01, or leave it out to have one chosen.'
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(macAddress)) {
    throw new InvalidInput(`MAC "${macAddress}" is not six pairs of lower-case hexadecimal digits joined by colons`, {
      remedy,
    })
  }
  if (macAddress === '00:00:00:00:00:00') throw new InvalidInput('MAC 00:00:00:00:00:00 is no address', { remedy })
  if (macAddress === 'ff:ff:ff:ff:ff:ff') throw new InvalidInput(`MAC ${macAddress} is broadcast`, { remedy })
  if (Number.parseInt(macAddress.slice(0, 2), 16) & 1) {
    throw new InvalidInput(`MAC ${macAddress} is multicast`, { remedy })
  }
}
