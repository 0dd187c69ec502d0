import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Node } from '../../api/index.ts'
import { capturesIn } from './captured-tree.ts'
import type { FileTree } from './file-tree.ts'
import { bondRate, findUplinks, rateOf } from './found-uplinks.ts'
import { linkFingerprint, readLinkFacts, readLinkPlaces, type BondMember, type LinkFacts } from './link-facts.ts'
import { findUplinkProblems } from './uplink-problems.ts'

/**
 * Files of bonds of two e1000 NICs of 1 Gbit/s (eth0, eth1) with VLAN 20 on it, read in a virtual machine with Linux
 * 6.12: `all` with both cables in, `one` after that of eth1 was pulled; `lacp` is 802.3ad with a partner, `802.3ad`
 * without; `unmonitored` has no miimon.
 */
const captures = capturesIn(readFileSync(join(import.meta.dirname, 'captured-bonds.txt'), 'utf8'))

type Uplinks = Node['spec']['uplinks']
const specOf = (uplinks: Uplinks): Node['spec'] => ({ uplinks, maximumInterfaces: 63 })
const factsIn = (tree: FileTree) => (name: string) => readLinkFacts(tree, name)

function foundIn(name: string, uplinks: Uplinks): ReturnType<typeof findUplinks> {
  return findUplinks(specOf(uplinks), factsIn(captures.get(name)!))
}

function problemsIn(name: string, uplinks: Uplinks): string[] {
  return findUplinkProblems(specOf(uplinks), factsIn(captures.get(name)!)).map(({ reason }) => reason)
}

describe('a bond', () => {
  it.each([
    ['active-backup all', 1e9, true, false],
    ['active-backup one', 1e9, true, false],
    ['lacp all', 2e9, true, true],
    ['lacp one', 1e9, true, false],
    ['802.3ad all', 1e9, true, false],
    ['balance-rr all', 2e9, true, true],
    ['balance-rr one', 1e9, true, false],
    ['balance-xor all', 2e9, true, true],
    ['balance-xor one', 1e9, true, false],
    ['unmonitored one', 1e9, true, false],
  ])('that is %s gives %d bit/s', (name, linkRate, first, second) => {
    const [found] = foundIn(name, { pods: { interface: 'bond0' } })
    expect(found).toMatchObject({ link: 'bond0', carrier: true, mtu: 1500, linkRate })
    expect(found!.members!.map(({ active }) => active)).toEqual([first, second])
    const [declared] = foundIn(name, { pods: { interface: 'bond0', rate: '1500M' } })
    expect(declared!.linkRate).toBe(Math.min(linkRate, 1500e6))
  })

  it('is told from its VLAN devices, which share it', () => {
    const uplinks = {
      pods: { interface: 'bond0' },
      management: { interface: 'bond0.20', rate: '100M' },
      storage: { interface: 'bond0', vlan: 30, rate: '500M' },
    }
    expect(foundIn('lacp all', uplinks)).toMatchObject([
      { plane: 'pods', interface: 'bond0', link: 'bond0', linkRate: 2e9 },
      { plane: 'management', interface: 'bond0.20', link: 'bond0', vlan: 20, linkRate: 2e9 },
      { plane: 'storage', interface: 'bond0', link: 'bond0', vlan: 30, linkRate: 2e9 },
    ])
  })

  it.each([
    ['lacp all', []],
    ['lacp one', ['BondMemberDown']],
    ['active-backup all', []],
    ['active-backup one', ['BondMemberDown']],
    ['802.3ad all', ['BondMemberIdle']],
    ['balance-rr one', ['BondMemberDown']],
    ['unmonitored one', ['BondMemberDown', 'BondNotMonitored']],
  ])('that is %s has the problems %j', (name, reasons) => {
    expect(problemsIn(name, { pods: { interface: 'bond0', bondMembers: ['eth1', 'eth0'] } })).toEqual(reasons)
  })

  const member = fc.record<BondMember>({
    name: fc.constant('eth0'),
    up: fc.boolean(),
    active: fc.boolean(),
    speed: fc.constantFrom(0, 1e9, 10e9, 25e9),
    isHardware: fc.boolean(),
  })
  const bond = fc.record({
    mode: fc.constantFrom('balance-rr', 'active-backup', '802.3ad', 'broadcast', 'balance-alb'),
    members: fc.array(member, { maxLength: 8 }),
  })
  const declared = fc.option(fc.integer({ min: 1e6, max: 200e9 }), { nil: undefined })

  it('never gives more than is declared, nor more when a member goes', () => {
    fc.assert(
      fc.property(bond, declared, fc.nat(7), (given, rate, index) => {
        const whole = bondRate(given, rate)
        if (rate !== undefined) expect(whole).toBeLessThanOrEqual(rate)
        const lost = given.members.map((each, at) => (at === index ? { ...each, up: false, active: false } : each))
        // where speeds are mixed with unknown ones, losing the unknown one can make the rest known
        const isKnown = given.members.every(({ speed, isHardware }) => speed > 0 && isHardware)
        const isSum = !['active-backup', 'broadcast'].includes(given.mode)
        if (isKnown && isSum) expect(bondRate({ ...given, members: lost }, rate)).toBeLessThanOrEqual(whole)
      }),
    )
  })

  it('of virtual devices gives its part of what is declared', () => {
    const tap = { up: true, active: true, speed: 10e6, isHardware: false }
    const members = [
      { ...tap, name: 'a' },
      { ...tap, name: 'b', up: false, active: false },
    ]
    expect(bondRate({ mode: 'balance-rr', members }, 20e9)).toBe(10e9)
    expect(bondRate({ mode: 'active-backup', members }, 20e9)).toBe(20e9)
    expect(bondRate({ mode: 'active-backup', members: [members[1]!] }, 20e9)).toBe(0)
  })
})

const nic: LinkFacts = {
  name: 'eth0', exists: true, index: 2, carrier: true, mtu: 1500, speed: 10e9, isHardware: true, lower: [],
} // prettier-ignore

describe('the rate of a device', () => {
  it.each<[string, LinkFacts, number | undefined, number]>([
    ['a NIC as declared', nic, 1e9, 1e9],
    ['a NIC that runs slower than declared', { ...nic, speed: 1e9 }, 10e9, 1e9],
    ['a NIC, nothing declared', nic, undefined, 10e9],
    ['a NIC that does not tell', { ...nic, speed: 0 }, 25e9, 25e9],
    ['a virtual device, whose speed means nothing', { ...nic, isHardware: false }, 100e9, 100e9],
    ['nobody knows', { ...nic, speed: 0 }, undefined, 0],
  ])('%s', (_what, facts, declared, rate) => {
    expect(rateOf(facts, declared)).toBe(rate)
  })

  it('is nothing without carrier', () => {
    const [found] = findUplinks(specOf({ pods: { interface: 'eth0', rate: '1G' } }), () => ({ ...nic, carrier: false }))
    expect(found).toMatchObject({ linkRate: 0, carrier: false })
  })
})

describe('problems of uplinks', () => {
  const pods = { interface: 'eth0', rate: '10G', mtu: 1500 }
  const reasons = (uplinks: Uplinks, ...devices: LinkFacts[]): string[] => {
    const absent = { exists: false, index: 0, carrier: false, mtu: 0, speed: 0, isHardware: false, lower: [] }
    const factsOf = (name: string): LinkFacts => devices.find((each) => each.name === name) ?? { ...absent, name }
    const problems = findUplinkProblems(specOf(uplinks), factsOf)
    expect(problems.every(({ message, remedy }) => message.length > 10 && remedy.length > 10)).toBe(true)
    return problems.map(({ reason }) => reason)
  }
  const vlan = (name: string, tag: number): LinkFacts => ({
    ...nic,
    name,
    vlan: tag,
    lower: ['eth0'],
    isHardware: false,
  })

  it.each<[string[], Uplinks, LinkFacts[]]>([
    [[], { pods }, [nic]],
    [['UplinkMissing'], { pods }, []],
    [['UplinkDown'], { pods }, [{ ...nic, carrier: false }]],
    [['UplinkMtuTooSmall'], { pods }, [{ ...nic, mtu: 1400 }]],
    [['UplinkSlowerThanDeclared'], { pods }, [{ ...nic, speed: 1e9 }]],
    [['UplinkRateUnknown'], { pods: { interface: 'eth0' } }, [{ ...nic, speed: 0 }]],
    [['PlaneWithoutReserve'], { pods, management: { interface: 'eth0.20' } }, [nic, vlan('eth0.20', 20)]],
    [['PlaneWithoutReserve'], { pods, management: { interface: 'eth0' } }, [nic]],
    [[], { pods, management: { interface: 'eth0.20', rate: '100M', vlan: 20 } }, [nic, vlan('eth0.20', 20)]],
    [['PlaneVlanDiffers'], { pods, storage: { interface: 'san', rate: '1G', vlan: 31 } }, [nic, vlan('san', 30)]],
    [['PlanesExceedLink'], { pods, storage: { interface: 'eth0', rate: '9.5G' } }, [nic]],
    [['UplinkMissing'], { pods, management: { interface: 'eth1' } }, [nic]],
    [['UplinkDown'], { pods, management: { interface: 'eth1' } }, [nic, { ...nic, name: 'eth1', carrier: false }]],
  ])('%j', (expected, uplinks, devices) => {
    expect(reasons(uplinks, ...devices)).toEqual(expected)
  })

  it('of a bond whose members are others than the Node says', () => {
    expect(problemsIn('lacp all', { pods: { interface: 'bond0', bondMembers: ['eth0', 'eth2'] } })).toEqual([
      'BondMembersDiffer',
    ])
  })
})

describe('the fingerprint', () => {
  it('changes with a member of a bond and with nothing else', () => {
    const print = (name: string): string => {
      const tree = captures.get(name)!
      return linkFingerprint(tree, readLinkPlaces(tree, ['bond0', 'eth0', 'eth1']))
    }
    expect(print('lacp all')).not.toBe(print('lacp one'))
    expect(print('lacp all')).toBe(print('lacp all'))
  })
})
