import { Exhausted } from '../base/index.ts'

/**
 * How much of a link may be promised. Floors are kept by shaping at the sender, and a shaper needs room: at 100 % of the
 * link the queue moves to the switch port, which drops blindly.
 */
const promisable = {
  /**
   * Share of the link rate that floors and the management reserve divide between them. The rest covers what a shaper
   * does not count (preamble, checksum and gap: 24 bytes a frame, 1.6 % at 1500 bytes) and its rounding.
   */
  linkShare: 0.95,
  /** Kept for the traffic that keeps the node alive: heartbeats, the API, ARP and ND. Share of the link rate ... */
  managementShare: 0.01,
  /** ... but never more than this many bits per second, which is plenty on any link. */
  managementMaximum: 100_000_000,
  /** Share of a drive's calibrated IOPS that floors divide between them: a drive ages and is measured while idle. */
  iopsShare: 0.9,
  /** Share of a pool's capacity that is given out; the rest is for what the pool's format needs for itself. */
  spaceShare: 0.95,
} as const

/**
 * What can be promised: bandwidth and interfaces of a node, IOPS and space of a drive. A new resource is one more entry
 * here and in `descriptions`; everything else in this file is written over the entries.
 */
export const resources = ['bandwidth', 'interfaces', 'iops', 'space'] as const
export type Resource = (typeof resources)[number]

/** An amount of each resource: bandwidth in bits per second, interfaces and IOPS as a count, space in bytes. */
export type Amounts = Record<Resource, number>

const descriptions: Record<Resource, { format: (amount: number) => string; what: string; remedy: string }> = {
  bandwidth: {
    format: formatRate,
    what: 'bandwidth that can be promised',
    remedy: 'Use a tier with a lower floor, another node, or detach endpoints that hold a floor there.',
  },
  interfaces: {
    format: (count) => `${count} interface${count === 1 ? '' : 's'}`,
    what: 'interfaces',
    remedy: 'Use another node, detach endpoints there, or raise maximumInterfaces of the node.',
  },
  iops: {
    format: (count) => `${count} IOPS`,
    what: 'IOPS that can be promised',
    remedy: 'Use a tier with a lower floor of IOPS, or another drive.',
  },
  space: {
    format: formatSpace,
    what: 'space that can be promised',
    remedy: 'Use a smaller size, delete snapshots and volumes that are not needed, or format another drive.',
  },
}

/** Nothing of anything. */
export const nothing: Amounts = { bandwidth: 0, interfaces: 0, iops: 0, space: 0 }

/** Bits per second of a link (given in bits per second) that the floors on it may add up to. */
export function promisableBandwidth(linkRate: number): number {
  const reserve = Math.min(linkRate * promisable.managementShare, promisable.managementMaximum)
  return Math.max(0, Math.floor(linkRate * promisable.linkShare - reserve))
}

/** Floors that the volumes of a drive may add up to; `iops` is what it gives, calibrated. */
export function promisableIops(iops: number): number {
  return Math.floor(iops * promisable.iopsShare)
}

/** Bytes of a pool that volumes and snapshots may be given in all. */
export function promisableSpace(capacity: number): number {
  return Math.floor(capacity * promisable.spaceShare)
}

/** Adds up amounts, resource by resource. */
export function sumOf(parts: Iterable<Amounts>): Amounts {
  const sum = { ...nothing }
  for (const part of parts) for (const resource of resources) sum[resource] += part[resource]
  return sum
}

/** What a node has in all, and what of it is promised already. */
export interface Capacity {
  total: Amounts
  promised: Amounts
}

/** One resource that does not suffice: what was asked for, what is left, and of how much. */
export interface Shortfall {
  resource: Resource
  needed: number
  left: number
  total: number
}

/** Whether something fits; a refusal names every resource that is short. */
export type Fit = { fits: true } | { fits: false; shortfalls: Shortfall[] }

/**
 * Says whether `ask` fits beside what is promised. A resource that is not asked for never refuses, so that a
 * best-effort endpoint still fits on a node whose link has become slower than its promises.
 */
export function fit(ask: Amounts, capacity: Capacity): Fit {
  const short = resources.filter((resource) => ask[resource] > 0 && ask[resource] > leftOf(resource, capacity))
  return short.length === 0
    ? { fits: true }
    : { fits: false, shortfalls: short.map((resource) => shortfallOf(resource, ask, capacity)) }
}

function leftOf(resource: Resource, { total, promised }: Capacity): number {
  return Math.max(0, total[resource] - promised[resource])
}

function shortfallOf(resource: Resource, ask: Amounts, capacity: Capacity): Shortfall {
  return {
    resource,
    needed: ask[resource],
    left: leftOf(resource, capacity),
    total: capacity.total[resource],
  }
}

/** The error for something that does not fit, such as "needs 2 Gbit/s, node n2 has 0.8 of 10 Gbit/s left". */
export function doesNotFit(who: string, nodeName: string, shortfalls: Shortfall[]): Exhausted {
  const texts = shortfalls.map((shortfall) => describeShortfall(shortfall, `node ${nodeName}`))
  return new Exhausted(`${who} ${texts.join('; ')}`, {
    remedy: remedyFor(shortfalls),
    details: { node: nodeName, shortfalls },
  })
}

/** A shortfall in words: "needs 5000 IOPS, drive n1.nvme0 has 0 IOPS of 90000 IOPS left (IOPS that can be promised)". */
export function describeShortfall({ resource, needed, left, total }: Shortfall, place: string): string {
  const { format, what } = descriptions[resource]
  return `needs ${format(needed)}, ${place} has ${format(left)} of ${format(total)} left (${what})`
}

/** What to do about shortfalls, each advice once. */
export function remedyFor(shortfalls: Shortfall[]): string {
  return [...new Set(shortfalls.map(({ resource }) => descriptions[resource].remedy))].join(' ')
}

/** Writes a size in bytes for people: 10 GiB, 1.5 MiB; at most two digits after the point. */
export function formatSpace(bytes: number): string {
  const units = [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const
  for (const [unit, factor] of units) {
    if (bytes >= factor) return `${Number((bytes / factor).toFixed(2))} ${unit}`
  }
  return `${bytes} B`
}

/** Writes a rate in bits per second for people: 2 Gbit/s, 1.25 Mbit/s; at most three digits after the point. */
export function formatRate(bitsPerSecond: number): string {
  const units = [
    ['Gbit/s', 1e9],
    ['Mbit/s', 1e6],
    ['kbit/s', 1e3],
  ] as const
  for (const [unit, factor] of units) {
    if (bitsPerSecond >= factor) return `${Number((bitsPerSecond / factor).toFixed(3))} ${unit}`
  }
  return `${bitsPerSecond} bit/s`
}
