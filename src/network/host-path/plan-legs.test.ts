import { describe, expect, it } from 'vitest'
import type { Network } from '../../api/index.ts'
import { planLegs } from './plan-legs.ts'

function network(name: string, vlan: number, cidr: string, settings: Partial<Network['spec']> = {}): Network {
  const creationTimestamp = `2026-01-01T00:00:0${name.length}Z` // the longer the name, the younger
  const spec = { vlan, plane: 'pods' as const, isDefault: false, subnets: [{ cidr, ranges: [] }], ...settings }
  return { metadata: { name, creationTimestamp }, spec }
}

describe('the legs of a node', () => {
  it('are one for each VLAN, with routes to the addresses that pods may have', () => {
    const ranges = [{ start: '10.31.0.16', end: '10.31.0.31' }]
    const { legs, excluded } = planLegs(
      [
        network('a', 100, '10.30.0.0/30'),
        network('bb', 100, '10.31.0.0/24', { subnets: [{ cidr: '10.31.0.0/24', ranges }] }),
        network('cc', 200, '10.32.0.0/30'),
      ],
      ['10.77.0.11'],
    )
    expect(legs).toEqual([
      { vlan: 100, networkNames: ['a', 'bb'], destinations: ['10.30.0.1/32', '10.30.0.2/32', '10.31.0.16/28'] },
      { vlan: 200, networkNames: ['cc'], destinations: ['10.32.0.1/32', '10.32.0.2/32'] },
    ])
    expect(excluded.size).toBe(0)
  })

  it('lead to the oldest of networks that hand out the same addresses in different VLANs', () => {
    const young = network('young', 200, '10.30.0.0/16')
    const { legs, excluded } = planLegs([young, network('old', 100, '10.30.0.0/24')], [])
    expect(legs.map(({ vlan }) => vlan)).toEqual([100])
    expect(excluded.get('young')).toMatch(/network old hands out the same addresses/)
  })

  it('do not lead to addresses of the node itself, to other planes, or to IPv6', () => {
    const { legs, excluded } = planLegs(
      [
        network('own', 100, '10.77.0.0/24'),
        network('six', 300, 'fd00::/64'),
        network('storage', 400, '10.40.0.0/24', { plane: 'storage' }),
      ],
      ['10.77.0.11', 'fe80::1'],
    )
    expect(legs).toEqual([])
    expect([...excluded.keys()]).toEqual(['own', 'six'])
  })
})
