import { parseQuantity, type PerfTier, type Quantity } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'

/** Floor and cap of an interface in bits per second; a floor of 0 is best effort, an absent cap is none. */
export interface BandwidthRates {
  bandwidthFloor: number
  bandwidthCap?: number
}

/** The rates that a tier gives an interface; no tier is best effort. Throws InvalidInput for malformed quantities. */
export function bandwidthRates(tier: PerfTier | undefined): BandwidthRates {
  const { networkBandwidth = 0, maxNetworkBandwidth = 0 } = tier?.spec ?? {}
  const bandwidthFloor = parseQuantity(networkBandwidth, 'networkBandwidth')
  const cap = parseQuantity(maxNetworkBandwidth, 'maxNetworkBandwidth')
  return cap === 0 ? { bandwidthFloor } : { bandwidthFloor, bandwidthCap: cap }
}

/** Floor and cap of a volume in operations per second; a floor of 0 is best effort, an absent cap is none. */
export interface IopsRates {
  iopsFloor: number
  iopsCap?: number
}

/** The rates that a tier gives a volume; no tier is best effort. Throws InvalidInput for malformed quantities. */
export function iopsRates(tier: PerfTier | undefined): IopsRates {
  const { storageIops = 0, maxStorageIops = 0 } = tier?.spec ?? {}
  const iopsFloor = parseQuantity(storageIops, 'storageIops')
  const cap = parseQuantity(maxStorageIops, 'maxStorageIops')
  return cap === 0 ? { iopsFloor } : { iopsFloor, iopsCap: cap }
}

/** Throws InvalidInput when a quantity is malformed or a cap lies below its floor. */
export function checkTier({ metadata, spec }: PerfTier): void {
  checkCap(
    metadata.name,
    ['networkBandwidth', spec.networkBandwidth],
    ['maxNetworkBandwidth', spec.maxNetworkBandwidth],
  )
  checkCap(metadata.name, ['storageIops', spec.storageIops], ['maxStorageIops', spec.maxStorageIops])
}

type NamedQuantity = [name: string, value: Quantity | undefined]

function checkCap(tierName: string, [floorName, floorText]: NamedQuantity, [capName, capText]: NamedQuantity): void {
  const floor = parseQuantity(floorText ?? 0, floorName)
  const cap = parseQuantity(capText ?? 0, capName)
  if (cap === 0 || cap >= floor) return
  throw new InvalidInput(`perf-tier ${tierName}: ${capName} ${capText} is below ${floorName} ${floorText}`, {
    remedy: `Raise ${capName} to at least ${floorText}, lower ${floorName}, or leave ${capName} out for no cap.`,
  })
}
