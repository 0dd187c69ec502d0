import { hexOf, type IpAddress } from './ip-address.ts'
import { hexOfMac } from './mac-address.ts'

/** Name of the claim of an address: `L2DOMAIN.HEX`. That a name exists once is what makes an address exist once. */
export function addressClaimName(l2Domain: string, address: IpAddress): string {
  return `${l2Domain}.${hexOf(address)}`
}

/** Name of the claim of a MAC: `L2DOMAIN.HEX`. */
export function macClaimName(l2Domain: string, macAddress: string): string {
  return `${l2Domain}.${hexOfMac(macAddress)}`
}
