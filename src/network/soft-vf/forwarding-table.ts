import { BpfMap } from './bpf-system-call.ts'
import { forwardingKeySize, maximumSlots, slotKey } from './map-layout.ts'

/** Bits of a key by which its place is found and which the place holds the slot instead of; see bpf/soft-vf.h. */
const placeShift = 36n
const placeMask = 0xfffn << placeShift
const sharedPlace = 0xffff_ffff_ffff_ffffn
const places = 4096

/**
 * Where frames for a MAC on a VLAN go on this node: a hash of keys, and for speed an array with a place for each key that
 * programs look at first. Frames find a receiver only when both have it.
 */
export class ForwardingTable {
  readonly #keys: BpfMap
  readonly #places: BpfMap
  /** A key of `#places`. */
  readonly #place = slotKey(0)
  /** Slots by their keys, by their places. */
  readonly #at = new Map<number, Map<bigint, number>>()

  /** Opens the pinned maps, and makes the array what the hash says. */
  constructor(keys: string, placesPath: string) {
    this.#keys = new BpfMap(keys, 4)
    this.#places = new BpfMap(placesPath, 8)
    for (const key of this.#keys.keys(forwardingKeySize)) {
      const slot = this.#keys.get(key)?.readUInt32LE()
      if (slot !== undefined) this.#note(key, slot)
    }
    const entries = this.#places.firstValues(places)
    for (let place = 0; place < places; place++) {
      if (entries.readBigUInt64LE(8 * place) !== entryFor(this.#at.get(place))) this.#write(place)
    }
  }

  /** The slot of a receiver; undefined also when it is not where frames look for it. */
  get(key: Buffer): number | undefined {
    const slot = this.#keys.peek(key)?.readUInt32LE()
    if (slot === undefined || slot >= maximumSlots) return undefined
    const number = key.readBigUInt64LE()
    const entry = this.#read(placeOf(number))
    return entry === placeEntry(number, slot) || entry === sharedPlace ? slot : undefined
  }

  /** From here on frames find the receiver. */
  set(key: Buffer, slot: number): void {
    this.#keys.set(key, slotKey(slot))
    this.#write(this.#note(key, slot))
  }

  /** From here on frames do not find the receiver in this slot. Nothing happens when it is in another one. */
  delete(key: Buffer, slot: number): void {
    const number = key.readBigUInt64LE()
    const here = this.#at.get(placeOf(number))
    if (here?.get(number) !== slot && this.#keys.get(key)?.readUInt32LE() !== slot) return
    here?.delete(number)
    this.#write(placeOf(number))
    this.#keys.delete(key)
  }

  close(): void {
    this.#keys.close()
    this.#places.close()
  }

  #note(key: Buffer, slot: number): number {
    const number = key.readBigUInt64LE()
    const place = placeOf(number)
    const here = this.#at.get(place) ?? new Map<bigint, number>()
    this.#at.set(place, here.set(number, slot))
    return place
  }

  #read(place: number): bigint {
    this.#place.writeUInt32LE(place)
    return this.#places.peek(this.#place)!.readBigUInt64LE()
  }

  #write(place: number): void {
    const value = Buffer.alloc(8)
    value.writeBigUInt64LE(entryFor(this.#at.get(place)))
    this.#places.set(slotKey(place), value)
  }
}

/** The place of a key that is read as a number. */
export function placeOf(key: bigint): number {
  return Number(((key >> placeShift) ^ (key >> 48n)) & 0xfffn)
}

/** What a place holds that only this key has. */
export function placeEntry(key: bigint, slot: number): bigint {
  return (key & ~placeMask) | (BigInt(slot) << placeShift)
}

/** What a place holds that these keys have. */
export function entryFor(keys: ReadonlyMap<bigint, number> | undefined): bigint {
  if (!keys || keys.size === 0) return 0n
  const [only] = keys
  return keys.size === 1 ? placeEntry(...only!) : sharedPlace
}
