import { describe, expect, it } from 'vitest'
import { Network, Node, validate } from '../api/index.ts'
import { describeTrunkProblem, findTrunkProblems, probeInterval } from './trunk-check.ts'

const now = Date.parse('2026-01-01T12:00:00Z')
const ago = (seconds: number): string => new Date(now - seconds * 1000).toISOString()

const network = (name: string, vlan: number | undefined, age = 60): Network => ({
  ...validate(Network, {
    apiVersion: 'carbonado.io/v1alpha1',
    kind: 'Network',
    metadata: { name },
    spec: { subnets: [{ cidr: '10.0.0.0/24' }], ...(vlan ? { vlan } : {}) },
  }),
  metadata: { name, creationTimestamp: ago(age) },
})

const node = (name: string, state = true, since = 60): Node => ({
  ...validate(Node, {
    apiVersion: 'carbonado.io/v1alpha1',
    kind: 'Node',
    metadata: { name },
    spec: { uplinks: { pods: { interface: 'eth0' } } },
  }),
  status: { ready: { state, reason: '', message: '', since: ago(since) } },
})

const nodes = [node('n1'), node('n2'), node('n3')]
const find = (heard: Record<string, number>, overrides: Partial<Parameters<typeof findTrunkProblems>[0]> = {}) =>
  findTrunkProblems({
    nodeName: 'n1',
    networks: [network('blue', 100)],
    nodes,
    heard: (name, vlan) => heard[`${name}/${vlan}`],
    now,
    ...overrides,
  })

describe('which VLANs are not carried to a node', () => {
  it('finds nothing when all others are heard', () => {
    expect(find({ 'n2/100': 10, 'n3/100': probeInterval })).toEqual([])
  })

  it("blames the silent node's port when another is heard", () => {
    const [problem] = find({ 'n2/100': 10, 'n3/100': 60_000 })
    expect(problem).toEqual({ vlan: 100, networkNames: ['blue'], silent: ['n3'], heardFromOthers: true })
    expect(describeTrunkProblem(problem!, 'n1').remedy).toContain('switch port of n3')
  })

  it("blames the node's own port when nobody is heard", () => {
    const [problem] = find({})
    expect(problem!.silent).toEqual(['n2', 'n3'])
    expect(describeTrunkProblem(problem!, 'n1').remedy).toContain('switch port of n1')
  })

  it('does not judge untagged networks, new networks, and nodes that are not Ready or only just', () => {
    expect(find({}, { networks: [network('plain', undefined), network('new', 200, 1)] })).toEqual([])
    expect(find({}, { nodes: [node('n1'), node('n2', false), node('n3', true, 1)] })).toEqual([])
  })
})
