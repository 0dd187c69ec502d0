import type { Group } from '../suite.ts'
import { measureClaims } from './claims.ts'

const row = { name: 'address claims', unit: 'claims/s', target: { atLeast: 2000 } }

/** Address claims per second in the embedded store, in process. */
export const claimsGroup: Group<void> = {
  rows: [row],
  async measure(_place, _wanted, { quick }) {
    const { claimsPerSecond, claims, duplicates } = await measureClaims({ claims: quick ? 2000 : 6000 })
    if (duplicates > 0) return { [row.name]: { reason: `${duplicates} of ${claims} addresses were handed out twice` } }
    const detail = `${claims} by 32 claimants in a /16 that is 90 % full, 0 twice`
    return { [row.name]: { value: claimsPerSecond, detail } }
  },
}
