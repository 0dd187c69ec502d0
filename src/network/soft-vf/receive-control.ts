import { readFileSync } from 'node:fs'
import type { Arrival, LimitUse, ReceiveControl, ReceiverAddress } from '../receive-control.ts'
import type { BpfMap } from './bpf-system-call.ts'
import { forwardingKey } from './map-layout.ts'

/** Mirrors bpf/soft-vf.h. */
export const limitSize = 16
export const limitStateSize = 304
export const limitKeySize = 8
const arrivalRecordSize = 32
const wireOverhead = 28
const flag = { arrivalsCounted: 1, limitsInForce: 2 } as const

/** What of the datapath the receive guarantee works with. */
export interface ReceiveMaps {
  limits: BpfMap
  limitStates: BpfMap
  /** Path of the file of arrivals. */
  arrivalsFile: string
  setFlag(flag: number, isSet: boolean): void
}

/** The receive guarantee's part of the soft-vf engine; `endpointIdOf` tells who has a slot. */
export class SoftVfReceiveControl implements ReceiveControl {
  readonly #maps: () => ReceiveMaps | undefined
  readonly #endpointIdOf: (slot: number) => string | undefined

  /** `maps` are there while the engine runs; without them nothing is counted and nothing limited. */
  constructor(maps: () => ReceiveMaps | undefined, endpointIdOf: (slot: number) => string | undefined) {
    this.#maps = maps
    this.#endpointIdOf = endpointIdOf
  }

  countArrivals(isWanted: boolean): void {
    this.#maps()?.setFlag(flag.arrivalsCounted, isWanted)
  }

  arrivals(): Arrival[] {
    const maps = this.#maps()
    if (!maps) return []
    const file = readFileSync(maps.arrivalsFile)
    const found: Arrival[] = []
    for (let at = 0; at + arrivalRecordSize <= file.length; at += arrivalRecordSize) {
      found.push(this.#decode(file.subarray(at, at + arrivalRecordSize)))
    }
    return found
  }

  #decode(record: Buffer): Arrival {
    const bytes = Number(record.readBigUInt64LE(16))
    return {
      sourceMac: textOfMac(record),
      vlan: record.readUInt16LE(6),
      endpointId: this.#endpointIdOf(record.readUInt32LE(8)),
      bytes,
      wireBytes: bytes + Number(record.readBigUInt64LE(24)) * wireOverhead,
    }
  }

  limit(receiver: ReceiverAddress, rate: number, milliseconds: number): void {
    const maps = this.#maps()
    if (!maps) return
    const key = keyOf(receiver)
    const value = Buffer.alloc(limitSize)
    value.writeBigUInt64LE(BigInt(Math.ceil(rate / 8)), 0)
    value.writeBigUInt64LE(process.hrtime.bigint() + BigInt(milliseconds) * 1_000_000n, 8)
    if (!maps.limitStates.get(key)) maps.limitStates.set(key, Buffer.alloc(limitStateSize))
    maps.limits.set(key, value)
    maps.setFlag(flag.limitsInForce, true)
  }

  lift(receiver: ReceiverAddress): void {
    const key = keyOf(receiver)
    this.#maps()?.limits.delete(key)
    this.#maps()?.limitStates.delete(key)
  }

  use(receiver: ReceiverAddress): LimitUse | undefined {
    const state = this.#maps()?.limitStates.get(keyOf(receiver))
    return state && { passedBytes: Number(state.readBigUInt64LE(32)), droppedBytes: Number(state.readBigUInt64LE(40)) }
  }

  sweep(): ReceiverAddress[] {
    const maps = this.#maps()
    if (!maps) return []
    const now = process.hrtime.bigint()
    const inForce: ReceiverAddress[] = []
    for (const key of [...maps.limits.keys(limitKeySize), ...maps.limitStates.keys(limitKeySize)]) {
      const receiver = { macAddress: textOfMac(key), vlan: key.readUInt16LE(6) }
      const limit = maps.limits.get(key)
      if (!limit || limit.readBigUInt64LE(8) < now) this.lift(receiver)
      else inForce.push(receiver)
    }
    maps.setFlag(flag.limitsInForce, inForce.length > 0)
    return inForce
  }
}

function keyOf({ macAddress, vlan }: ReceiverAddress): Buffer {
  return forwardingKey(macAddress, vlan)
}

function textOfMac(bytes: Buffer): string {
  return bytes.toString('hex', 0, 6).replace(/(..)(?!$)/g, '$1:')
}
