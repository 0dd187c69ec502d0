import { Type } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'
import { Quantity } from './quantity.ts'

/** Floors (promised) and caps (never exceeded) of an interface and a volume. 0 or absent: none. */
export const PerfTier = defineKind({
  ...carbonadoGroup,
  kind: 'PerfTier',
  plural: 'perftiers',
  shortNames: ['tier'],
  namespaced: false,
  printerColumns: [
    { name: 'IOPS', type: 'string', jsonPath: '.spec.storageIops' },
    { name: 'Bandwidth', type: 'string', jsonPath: '.spec.networkBandwidth' },
    { name: 'Max-IOPS', type: 'string', jsonPath: '.spec.maxStorageIops' },
    { name: 'Max-Bandwidth', type: 'string', jsonPath: '.spec.maxNetworkBandwidth' },
  ],
  schema: {
    spec: Type.Object(
      {
        /** IOPS of a volume. */
        storageIops: Type.Optional(Quantity),
        maxStorageIops: Type.Optional(Quantity),
        /** Bits per second of an interface, counted as layer-2 frames without preamble and checksum. */
        networkBandwidth: Type.Optional(Quantity),
        maxNetworkBandwidth: Type.Optional(Quantity),
      },
      { additionalProperties: false },
    ),
  },
})
export type PerfTier = ObjectOf<typeof PerfTier>

/** Tiers that every cluster starts with. */
export const defaultPerfTiers: { name: string; spec: PerfTier['spec'] }[] = [
  { name: 'high', spec: { storageIops: '20k', networkBandwidth: '500M' } },
  { name: 'medium', spec: { storageIops: '5k', networkBandwidth: '125M' } },
  { name: 'best-effort', spec: { storageIops: 0, networkBandwidth: 0 } },
]
