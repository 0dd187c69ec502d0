import { describe, expect, it } from 'vitest'
import type { Drive, Network, Node } from '../../../api/index.ts'
import { nothing } from '../../../guarantee/index.ts'
import type { VolumeDemand } from '../../../storage/pods/index.ts'
import { judgeNode, scoreNode, whyNowhere, type NodeFacts, type PodDemand } from './decision.ts'
import { filterNodes } from './extender.ts'

function nodeOf(name: string, { zone, promised = 0, ready = true }: { zone?: string; promised?: number; ready?: boolean } = {}): Node {
  return {
    metadata: { name },
    spec: { uplinks: { pods: { interface: 'eth1', rate: '10G' } }, maximumInterfaces: 100, ...(zone ? { zone } : {}) },
    status: {
      ready: { state: ready, reason: '', message: 'The agent has not reported for more than 30 seconds.', since: '' },
      capacity: { bandwidth: { promised, total: 9.4e9 }, interfaces: { promised: 0, total: 100 } },
    },
  }
} // prettier-ignore

function driveOf(name: string, nodeName: string, promised: { space?: number; iops?: number } = {}): Drive {
  const pool = { id: 'p', format: 'file' as const, capacity: 100 * 2 ** 30, used: 0, held: 0, measuredAt: '' }
  const calibration = { readIops: 100_000, writeIops: 50_000, readBandwidth: 0, writeBandwidth: 0, measuredAt: '' }
  return {
    metadata: { name },
    spec: { nodeName, device: '/dev/x' },
    status: {
      agent: { state: 'Ready', size: 0, found: [], pool, calibration },
      capacity: {
        space: { promised: promised.space ?? 0, total: 0 },
        iops: { promised: promised.iops ?? 0, total: 0 },
      },
    },
  } as Drive
}

function demandOf(more: Partial<PodDemand> = {}, bandwidth = 2e9): PodDemand {
  const network = { interfaces: 1, bandwidth, networkNames: ['blue'], newAddresses: { blue: 1 } }
  return { network, networks: [], addresses: { blue: { left: 10, total: 245 } }, volumes: [], ...more }
}

const share = (left: number): NodeFacts['share'] => ({
  left: { interfaces: 99, bandwidth: left },
  total: { interfaces: 100, bandwidth: 9.4e9 },
})
const blue = {
  metadata: { name: 'blue' },
  spec: { zone: 'a', subnets: [], plane: 'pods', isDefault: false },
} as Network
const made = (claimName: string, iops: number, space = 2 ** 30): VolumeDemand => ({ kind: 'new', claimName, ask: { ...nothing, iops, space } }) // prettier-ignore
const existing = (nodeNames: string[]): VolumeDemand => ({ kind: 'existing', claimName: 'data', volumeName: 'v1', nodeNames }) // prettier-ignore

describe('a pod on a node', () => {
  it('fits where nothing is short', () => {
    expect(judgeNode(demandOf(), { node: nodeOf('n2'), drives: [], share: share(3e9) })).toEqual({ fits: true })
  })

  it.each<[string, PodDemand, NodeFacts, string, boolean]>([
    ['bandwidth', demandOf(), { node: nodeOf('n2'), drives: [], share: share(0.8e9) }, 'needs 2 Gbit/s, node n2 has 800 Mbit/s of 9.4 Gbit/s left (bandwidth that can be promised)', false],
    ['addresses', demandOf({ addresses: { blue: { left: 0, total: 245 } } }), { node: nodeOf('n2'), drives: [] }, 'network blue: needs 1 address, has 0 of 245 left', false],
    ['the zone', demandOf({ networks: [blue] }), { node: nodeOf('n2', { zone: 'b' }), drives: [] }, 'network blue is in zone a, the node in b', true],
    ['the agent', demandOf(), { node: nodeOf('n2', { ready: false }), drives: [] }, 'The agent has not reported for more than 30 seconds', true],
    ['the only copy elsewhere', demandOf({ volumes: [existing(['n3'])] }), { node: nodeOf('n2'), drives: [] }, 'volume v1 of claim data is on n3', true],
    ['no copy', demandOf({ volumes: [existing([])] }), { node: nodeOf('n2'), drives: [] }, 'volume v1 of claim data has no copy that is up to date', true],
    ['IOPS of the drive', demandOf({ volumes: [made('data', 20_000)] }), { node: nodeOf('n2'), drives: [driveOf('n2.nvme0', 'n2', { iops: 40_000 })] }, 'claim data: needs 20000 IOPS, drive n2.nvme0 has 5000 IOPS of 45000 IOPS left (IOPS that can be promised)', false],
    ['IOPS of two claims', demandOf({ volumes: [made('a', 30_000), made('b', 30_000)] }), { node: nodeOf('n2'), drives: [driveOf('n2.nvme0', 'n2')] }, 'claim b: needs 30000 IOPS, drive n2.nvme0 has 15000 IOPS of 45000 IOPS left (IOPS that can be promised)', false],
    ['a drive', demandOf({ volumes: [made('data', 0)] }), { node: nodeOf('n2'), drives: [] }, 'claim data: it has no drive', false],
  ])('is refused for %s, with numbers', (_what, demand, facts, reason, isFinal) => {
    expect(judgeNode(demand, facts)).toEqual({ fits: false, reasons: [reason], isFinal })
  }) // prettier-ignore

  it('that has no interface of ours is not refused for our agent', () => {
    const demand = demandOf({ network: { interfaces: 0, bandwidth: 0, networkNames: [], newAddresses: {} } })
    expect(judgeNode(demand, { node: nodeOf('n2', { ready: false }), drives: [] })).toEqual({ fits: true })
  })
})

describe('among nodes', () => {
  const facts = new Map([
    ['n1', { node: nodeOf('n1', { promised: 8e9 }), drives: [] }],
    ['n2', { node: nodeOf('n2', { promised: 1e9 }), drives: [] }],
    ['n3', { node: nodeOf('n3', { ready: false }), drives: [] }],
  ])

  it('the filter tells of each why it is left out', () => {
    expect(filterNodes(demandOf(), ['n1', 'n2', 'n3', 'n4'], (name) => facts.get(name))).toEqual({
      NodeNames: ['n1', 'n2'],
      FailedNodes: {},
      FailedAndUnresolvableNodes: {
        n3: 'The agent has not reported for more than 30 seconds',
        n4: 'no agent of Carbonado runs there',
      },
    })
  })

  it('the one with most left is best, and nothing promised does not care', () => {
    const score = (name: string, bandwidth: number): number => scoreNode(demandOf({}, bandwidth), facts.get(name)!)
    expect(score('n2', 1e9)).toBeGreaterThan(score('n1', 1e9))
    expect(score('n2', 0)).toBe(score('n1', 0))
  })

  it('a pod that fits nowhere is told why, each reason once', () => {
    const all = ['n1', 'n2', 'n3'].map((name) => ({ node: nodeOf(name), drives: [], share: share(name === 'n3' ? 1e9 : 0.8e9) })) // prettier-ignore
    expect(whyNowhere(demandOf(), all)).toBe(
      'nodes n1, n2: needs 2 Gbit/s, it has 800 Mbit/s of 9.4 Gbit/s left (bandwidth that can be promised). ' +
        'node n3: needs 2 Gbit/s, it has 1 Gbit/s of 9.4 Gbit/s left (bandwidth that can be promised)',
    )
    expect(whyNowhere(demandOf({}, 0.9e9), all)).toBeUndefined()
  })
})
