import type { Arrival, LimitUse, ReceiveControl, ReceiverAddress } from '../receive-control.ts'
import { Exhausted } from '../../base/index.ts'
import type { BpfMap } from './bpf-system-call.ts'
import type { IteratorFile } from './iterator-file.ts'
import { mostMinors, type Limiter } from './limiter.ts'
import { countersSize, forwardingKey } from './map-layout.ts'

/** Mirrors bpf/soft-vf.h. */
export const limitSize = 24
export const limitStateSize = 296
const limitKeySize = 8
const arrivalKeySize = 12
export const arrivalSize = 16
const arrivalRecordSize = 32
const wireOverhead = 28
/** In the file of counters: slot and padding, then `struct counters`. */
const countersRecordSize = 8 + countersSize
const receivedOffset = 8 + 128
const flag = { arrivalsCounted: 1, limitsInForce: 2 } as const

/** What of the datapath the receive guarantee works with. */
export interface ReceiveMaps {
  limits: BpfMap
  limitStates: BpfMap
  arrivals: BpfMap
  arrivalsFile: IteratorFile
  /** The file of counters. */
  readCounters(): Buffer
  setFlag(flag: number, isSet: boolean): void
}

/** The receive guarantee's part of the soft-vf engine; `endpointIdOf` tells who has a slot. */
export class SoftVfReceiveControl implements ReceiveControl {
  readonly #maps: () => ReceiveMaps | undefined
  readonly #limiter: () => Limiter | undefined
  readonly #endpointIdOf: (slot: number) => string | undefined

  /** Classes of the limiter in use, and the rates they have. */
  readonly #classes = new Map<string, { minor: number; rate: number }>()

  /** `maps` and `limiter` are there while the engine runs; without them nothing is counted and nothing limited. */
  constructor(
    maps: () => ReceiveMaps | undefined,
    limiter: () => Limiter | undefined,
    endpointIdOf: (slot: number) => string | undefined,
  ) {
    this.#maps = maps
    this.#limiter = limiter
    this.#endpointIdOf = endpointIdOf
  }

  receivedBytes(): number {
    const file = this.#maps()?.readCounters() ?? Buffer.alloc(0)
    let sum = 0
    for (let at = 0; at + countersRecordSize <= file.length; at += countersRecordSize) {
      const bytes = file.readBigUInt64LE(at + receivedOffset)
      sum += Number(bytes) + Number(file.readBigUInt64LE(at + receivedOffset + 8)) * wireOverhead
    }
    return sum
  }

  countArrivals(isWanted: boolean): void {
    this.#maps()?.setFlag(flag.arrivalsCounted, isWanted)
  }

  arrivals(): Arrival[] {
    const maps = this.#maps()
    if (!maps) return []
    const file = maps.arrivalsFile.read()
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
      slot: record.readUInt32LE(8),
      endpointId: this.#endpointIdOf(record.readUInt32LE(8)),
      bytes,
      wireBytes: bytes + Number(record.readBigUInt64LE(24)) * wireOverhead,
    }
  }

  forgetArrivals(arrivals: Arrival[]): void {
    for (const { sourceMac: macAddress, vlan, slot } of arrivals) {
      const key = Buffer.alloc(arrivalKeySize)
      forwardingKey(macAddress, vlan).copy(key)
      key.writeUInt32LE(slot, 8)
      this.#maps()?.arrivals.delete(key)
    }
  }

  async limit(receiver: ReceiverAddress, rate: number, milliseconds: number): Promise<void> {
    const key = keyOf(receiver)
    const name = key.toString('hex')
    const known = this.#classes.get(name)
    const minor = known?.minor ?? this.#freeMinor()
    this.#classes.set(name, { minor, rate })
    if (known?.rate !== rate) await this.#limiter()?.setRate(minor, rate)
    const maps = this.#maps()
    if (!maps || this.#classes.get(name)?.minor !== minor) return
    if (!maps.limitStates.get(key)) maps.limitStates.set(key, Buffer.alloc(limitStateSize))
    maps.limits.set(key, encodeLimit(rate, milliseconds, minor))
    maps.setFlag(flag.limitsInForce, true)
  }

  async lift(receiver: ReceiverAddress): Promise<void> {
    const key = keyOf(receiver)
    this.#maps()?.limits.delete(key)
    const known = this.#classes.get(key.toString('hex'))
    this.#classes.delete(key.toString('hex'))
    this.#maps()?.limitStates.delete(key)
    if (known) await this.#limiter()?.remove(known.minor)
  }

  use(receiver: ReceiverAddress): LimitUse | undefined {
    const state = this.#maps()?.limitStates.get(keyOf(receiver))
    return state && { passedBytes: Number(state.readBigUInt64LE(24)), droppedBytes: Number(state.readBigUInt64LE(32)) }
  }

  async sweep(): Promise<ReceiverAddress[]> {
    const maps = this.#maps()
    if (!maps) return []
    const now = process.hrtime.bigint()
    const inForce: ReceiverAddress[] = []
    const keys = [...maps.limits.keys(limitKeySize), ...maps.limitStates.keys(limitKeySize)]
    for (const key of new Map(keys.map((each) => [each.toString('hex'), each])).values()) {
      const receiver = { macAddress: textOfMac(key), vlan: key.readUInt16LE(6) }
      const limit = maps.limits.get(key)
      if (!limit || limit.readBigUInt64LE(8) < now) await this.lift(receiver)
      else {
        this.#adopt(key, limit)
        inForce.push(receiver)
      }
    }
    const isAny = maps.limits.keys(limitKeySize).length > 0 // as it is now: others may have come meanwhile
    maps.setFlag(flag.limitsInForce, isAny)
    return inForce
  }

  /** A limit that an earlier agent set keeps its class. */
  #adopt(key: Buffer, limit: Buffer): void {
    const name = key.toString('hex')
    if (!this.#classes.has(name)) this.#classes.set(name, { minor: limit.readUInt32LE(16), rate: 0 })
  }

  #freeMinor(): number {
    const used = new Set(this.#classes.values().map(({ minor }) => minor))
    for (let minor = 1; minor < mostMinors; minor++) if (!used.has(minor)) return minor
    throw new Exhausted(`this node sends to ${used.size} limited receivers already`, {
      remedy: 'Spread the senders over more nodes.',
    })
  }
}

function encodeLimit(rate: number, milliseconds: number, minor: number): Buffer {
  const value = Buffer.alloc(limitSize)
  value.writeBigUInt64LE(BigInt(Math.ceil(rate / 8)), 0)
  value.writeBigUInt64LE(process.hrtime.bigint() + BigInt(milliseconds) * 1_000_000n, 8)
  value.writeUInt32LE(minor, 16)
  return value
}

function keyOf({ macAddress, vlan }: ReceiverAddress): Buffer {
  return forwardingKey(macAddress, vlan)
}

function textOfMac(bytes: Buffer): string {
  return bytes.toString('hex', 0, 6).replace(/(..)(?!$)/g, '$1:')
}
