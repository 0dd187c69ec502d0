import { isDeepStrictEqual } from 'node:util'
import { AddressClaim, Endpoint, type MacClaim } from '../../api/index.ts'
import { Conflict, InvalidInput, NotFound } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { addressClaimName, macClaimName } from '../addresses/claim-name.ts'
import { parseAddress } from '../addresses/ip-address.ts'

type Claim = AddressClaim | MacClaim

/**
 * A claim is named after what it claims, and its owner exists when it is made. Where admission is part of the
 * transaction this alone keeps claims from outliving a deletion that happens meanwhile.
 */
export function admitClaimCreate(claim: Claim, reader: SyncReader): void {
  const expected = claimName(claim)
  if (claim.metadata.name !== expected) {
    throw new InvalidInput(`the claim of ${claimed(claim)} is named ${claim.metadata.name}, expected ${expected}`, {
      remedy: `Name it ${expected}.`,
    })
  }
  const { namespace, name, uid } = claim.spec.endpoint
  if (ownerOf(claim, reader)) return
  throw new NotFound(`endpoint ${namespace}/${name} with uid ${uid} does not exist, so it can claim nothing`, {
    remedy: 'Claims are made by control; create an endpoint instead.',
  })
}

/** A claim says one thing for as long as it exists. */
export function admitClaimUpdate(claim: Claim, existing: Claim): void {
  if (isDeepStrictEqual(claim.spec, existing.spec)) return
  throw new InvalidInput(`claim ${claim.metadata.name} cannot change`, { remedy: 'Leave claims to control.' })
}

/** What an endpoint was allocated stays claimed for as long as the endpoint exists. */
export function admitClaimDelete(claim: Claim, reader: SyncReader): void {
  const allocation = ownerOf(claim, reader)?.status?.allocation
  if (allocation?.state !== 'Allocated') return
  const held = [allocation.macAddress, ...allocation.addresses.map(({ address }) => address)]
  if (!held.includes(claimed(claim))) return
  const { namespace, name } = claim.spec.endpoint
  throw new Conflict(`${claimed(claim)} is allocated to endpoint ${namespace}/${name}`, {
    remedy: 'Delete the endpoint; its claims go with it.',
  })
}

function ownerOf({ spec }: Claim, reader: SyncReader): Endpoint | undefined {
  const { namespace, name, uid } = spec.endpoint
  const endpoint = reader.get(Endpoint, { namespace, name })
  return endpoint?.metadata.uid === uid ? endpoint : undefined
}

function claimed({ spec }: Claim): string {
  return 'address' in spec ? spec.address : spec.macAddress
}

function claimName({ spec }: Claim): string {
  if ('address' in spec) return addressClaimName(spec.l2Domain, parseAddress(spec.address))
  return macClaimName(spec.l2Domain, spec.macAddress)
}
