import { BudgetDivider } from '../../guarantee/index.ts'
import { directions, type CgroupIo, type Direction, type IoCounters } from './cgroup-io.ts'
import { writeRule } from './cgroup-v1.ts'

/** What a device may do; operations per second. */
export interface DeviceLimit {
  operations: number
  /** Bytes that count as one operation where large ones are to count as several; Infinity: each counts once. */
  bytesPerOperation: number
}

interface Lane {
  folder: string
  direction: Direction
  counters: IoCounters
  /** What was written; undefined: nothing yet. */
  written?: { operations: number; bytes: number }
}

/** A limit that differs by less than this share is left as it is. */
const tolerance = 0.04
/** Milliseconds between two divisions while the limit stays the same. */
const divisionInterval = 200
/** Share of the limit that every lane has, so that one that begins can show itself. */
const leastShare = 0.02

/**
 * Holds a device to a number of operations per second, whoever uses it: the number is divided over the cgroups that do,
 * and over the two directions, by what each uses, again and again.
 */
export class DeviceLimiter {
  readonly device: string
  readonly #io: CgroupIo
  readonly #divider = new BudgetDivider()
  #lanes: Lane[] = []
  #limit: DeviceLimit | undefined
  #dividedAt = -Infinity
  /** Whether there are lanes that had no part in the last division. */
  #isNew = false

  /** `folders` are all cgroups there are: limits that an earlier process left are taken over. */
  constructor(io: CgroupIo, device: string, folders: string[]) {
    this.#io = io
    this.device = device
    io.activate(device)
    this.#addLanes(io.limited(device, folders))
  }

  /** Whether anything is set. */
  get isLimited(): boolean {
    return this.#lanes.length > 0
  }

  /** What has to be written so that nobody is held back any more, but for a cap, which each cgroup then has whole. */
  restingRules(cap: number | undefined): { file: string; rule: string }[] {
    const folders = new Set(this.#lanes.map(({ folder }) => folder))
    return [...folders].flatMap((folder) => this.#io.rules(folder, this.device, cap))
  }

  /** Takes up cgroups that came, and forgets those that went. */
  adopt(folders: string[], consumers: string[]): void {
    const chosen = this.#io.choose(this.device, folders, consumers)
    const before = this.#lanes
    const there = new Set(folders)
    this.#lanes = before.filter(({ folder }) => there.has(folder))
    this.#addLanes(chosen)
    if (this.#lanes.length !== before.length || this.#lanes.some((lane) => !before.includes(lane))) this.#isNew = true
  }

  /** Sets the limit, or with undefined removes everything. `now` in milliseconds. */
  set(now: number, limit: DeviceLimit | undefined): void {
    const before = this.#limit
    this.#limit = limit
    if (!limit) return this.#remove()
    const isSame = before !== undefined && isNear(before.operations, limit.operations)
    if (isSame && !this.#isNew && now - this.#dividedAt < divisionInterval) return
    this.#divide(now, limit)
  }

  /** Leaves the device to itself: nobody is held back any more, but for a cap, which each cgroup then has whole. */
  rest(cap: number | undefined): void {
    for (const { file, rule } of this.restingRules(cap)) writeRule(file, rule)
    this.#lanes = []
  }

  #divide(now: number, limit: DeviceLimit): void {
    const seconds = (now - this.#dividedAt) / 1000
    const members = this.#lanes.map((lane) => ({ id: keyOf(lane), use: this.#useOf(lane, limit, seconds) }))
    this.#dividedAt = now
    this.#isNew = false
    const parts = this.#divider.divide(now, limit.operations, members, limit.operations * leastShare)
    for (const lane of this.#lanes) this.#write(lane, parts.get(keyOf(lane))!, limit.bytesPerOperation)
  }

  /** Operations per second since the last division; nothing is known of the time before the first. */
  #useOf(lane: Lane, { bytesPerOperation }: DeviceLimit, seconds: number): number {
    const counters = this.#io.counters(lane.folder, this.device)[lane.direction]
    const operations = counters.operations - lane.counters.operations
    const bytes = counters.bytes - lane.counters.bytes
    lane.counters = counters
    return Number.isFinite(seconds) ? Math.max(0, operations, bytes / bytesPerOperation) / Math.max(seconds, 1e-3) : 0
  }

  #write(lane: Lane, operations: number, bytesPerOperation: number): void {
    const wanted = { operations, bytes: operations * bytesPerOperation }
    const { written } = lane
    if (written && isNear(written.operations, operations) && isNear(written.bytes, wanted.bytes)) return
    this.#io.limit(lane.folder, this.device, lane.direction, wanted)
    lane.written = wanted
  }

  #remove(): void {
    for (const { folder, direction } of this.#lanes) this.#io.limit(folder, this.device, direction, undefined)
    this.#lanes = []
    this.#dividedAt = -Infinity
  }

  #addLanes(folders: string[]): void {
    const known = new Set(this.#lanes.map(({ folder }) => folder))
    for (const folder of folders) {
      if (known.has(folder)) continue
      const counters = this.#io.counters(folder, this.device)
      for (const direction of directions) this.#lanes.push({ folder, direction, counters: counters[direction] })
    }
  }
}

function keyOf({ folder, direction }: Lane): string {
  return `${direction} ${folder}`
}

function isNear(one: number, other: number): boolean {
  return one === other || Math.abs(one - other) <= tolerance * Math.max(one, other)
}
