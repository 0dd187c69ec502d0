import { Type } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

const owner = Type.Object(
  { namespace: Type.String(), name: Type.String(), uid: Type.String() },
  { additionalProperties: false },
)

/**
 * Owning an IP address in an L2 domain. Taken by creating the object: its name is `L2DOMAIN.HEX`
 * (8 digits for IPv4, 32 for IPv6), so the uniqueness of names is the lock.
 */
export const AddressClaim = defineKind({
  ...carbonadoGroup,
  kind: 'AddressClaim',
  plural: 'addressclaims',
  namespaced: false,
  selectableFields: ['spec.networkName'],
  printerColumns: [
    { name: 'Address', type: 'string', jsonPath: '.spec.address' },
    { name: 'Network', type: 'string', jsonPath: '.spec.networkName' },
    { name: 'Endpoint', type: 'string', jsonPath: '.spec.endpoint.name' },
  ],
  schema: {
    spec: Type.Object(
      { l2Domain: Type.String(), address: Type.String(), networkName: Type.String(), endpoint: owner },
      { additionalProperties: false },
    ),
  },
})
export type AddressClaim = ObjectOf<typeof AddressClaim>

/** Owning a MAC address in an L2 domain; named `L2DOMAIN.HEX` with 12 digits. */
export const MacClaim = defineKind({
  ...carbonadoGroup,
  kind: 'MacClaim',
  plural: 'macclaims',
  namespaced: false,
  printerColumns: [
    { name: 'MAC', type: 'string', jsonPath: '.spec.macAddress' },
    { name: 'Endpoint', type: 'string', jsonPath: '.spec.endpoint.name' },
  ],
  schema: {
    spec: Type.Object(
      { l2Domain: Type.String(), macAddress: Type.String(), endpoint: owner },
      { additionalProperties: false },
    ),
  },
})
export type MacClaim = ObjectOf<typeof MacClaim>
