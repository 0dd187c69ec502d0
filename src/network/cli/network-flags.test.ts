import { describe, expect, it } from 'vitest'
import type { Network } from '../../api/index.ts'
import { extendedSubnets, networkOf } from './network-flags.ts'

const subnet = ['10.30.0.0/24']

describe('network create', () => {
  it('makes the network of the published example', () => {
    const flags = { subnet, start: ['10.30.0.10'], end: ['10.30.0.200'], gateway: ['10.30.0.1'], vlan: 100 }
    expect(networkOf('blue', flags)).toEqual({
      metadata: { name: 'blue' },
      spec: {
        subnets: [
          { cidr: '10.30.0.0/24', ranges: [{ start: '10.30.0.10', end: '10.30.0.200' }], gateway: '10.30.0.1' },
        ],
        plane: 'pods',
        isDefault: false,
        vlan: 100,
      },
    })
  })

  it('pairs subnets, ranges and gateways by family', () => {
    const { subnets } = networkOf('dual', {
      subnet: ['fd00:31::/64', '10.31.0.0/24'],
      gateway: ['10.31.0.1', 'fd00:31::1'],
      start: ['10.31.0.10', 'fd00:31::100'],
    }).spec
    expect(subnets).toEqual([
      { cidr: 'fd00:31::/64', ranges: [{ start: 'fd00:31::100', end: 'fd00:31::1:ff' }], gateway: 'fd00:31::1' },
      { cidr: '10.31.0.0/24', ranges: [{ start: '10.31.0.10', end: '10.31.0.255' }], gateway: '10.31.0.1' },
    ])
  })

  it('fills in the missing end of a range', () => {
    expect(networkOf('a', { subnet, end: ['10.30.0.9'] }).spec.subnets[0]!.ranges).toEqual([
      { start: '10.30.0.0', end: '10.30.0.9' },
    ])
    expect(networkOf('a', { subnet }).spec.subnets[0]!.ranges).toEqual([])
  })

  it.each([
    [{ subnet: ['10.30.0.0'] }, '--subnet'],
    [{ subnet: ['10.30.0.0/33'] }, '--subnet'],
    [{ subnet: ['10.30.0.5/24'] }, '10.30.0.0/24'],
    [{ subnet: ['blue'] }, '--subnet'],
    [{ subnet: ['10.30.0.0/24', '10.31.0.0/24'] }, 'two IPv4 subnets'],
    [{ subnet, start: ['10.31.0.1'] }, 'not inside the subnet'],
    [{ subnet, start: ['10.30.0.20'], end: ['10.30.0.10'] }, 'ends before it starts'],
    [{ subnet, start: ['ten'] }, '--start'],
    [{ subnet, end: ['10.30.0.9/24'] }, '--end'],
    [{ subnet, gateway: ['10.30.1.1'] }, 'gateway'],
    [{ subnet, gateway: ['fd00::1'] }, 'no IPv6 subnet'],
    [{ subnet, gateway: ['10.30.0.1', '10.30.0.2'] }, 'two IPv4 addresses'],
    [{ subnet, type: 'private' }, '--type "private"'],
    [{ subnet: ['224.0.0.0/24'] }, 'multicast'],
  ])('refuses %j', (flags, expected) => {
    expect(() => networkOf('blue', flags)).toThrow(expected)
  })
})

describe('network update --end', () => {
  const network: Network = networkOf('blue', { subnet, start: ['10.30.0.10'], end: ['10.30.0.20'] })

  it('extends the last range', () => {
    expect(extendedSubnets(network, ['10.30.0.99'])[0]!.ranges).toEqual([{ start: '10.30.0.10', end: '10.30.0.99' }])
  })

  it.each([
    ['10.30.0.20', 'not after the end'],
    ['10.30.0.5', 'not after the end'],
    ['10.31.0.1', 'not inside the subnet'],
    ['fd00::1', 'no IPv6 subnet'],
    ['x', '--end'],
  ])('refuses %s', (end, expected) => {
    expect(() => extendedSubnets(network, [end])).toThrow(expected)
  })

  it('refuses to extend what has no range', () => {
    expect(() => extendedSubnets(networkOf('all', { subnet }), ['10.30.0.99'])).toThrow('no range to extend')
  })
})
