import { describe, expect, it } from 'vitest'
import type { Endpoint } from '../../api/index.ts'
import { endpointColumns, stateOf, type EndpointRow } from './endpoint-columns.ts'
import { describeEndpoint } from './endpoint-description.ts'
import { zeroCounters } from '../counters.ts'
import { networkColumns } from './network-columns.ts'
import { networkOf } from './network-flags.ts'
import { perfTierColumns, perfTierOf } from './perf-tier-verbs.ts'
import { renderTable, type Column } from '../../verb/index.ts'

function headers<T>(columns: Column<T>[]): string {
  return renderTable(columns, [], { wide: false }).replaceAll(/ +/g, ' ')
}

/** The headers that scripts rely on; they never change. */
describe('published columns', () => {
  it('of networks', () => {
    expect(headers(networkColumns)).toBe('NAME TYPE START-ADDRESS TOTAL USED GATEWAY VLAN NETWORK-GROUP ZONE')
  })

  it('of endpoints', () => {
    expect(headers(endpointColumns)).toBe('NAME NAMESPACE CONTAINER NETWORK IP MAC GATEWAY VLAN VF NODE LABELS')
  })

  it('of tiers', () => {
    expect(headers(perfTierColumns)).toBe(
      'NAME STORAGE-IOPS NETWORK-BANDWIDTH MAX-STORAGE-IOPS MAX-NETWORK-BANDWIDTH LABELS',
    )
  })
})

describe('cells', () => {
  it('of a network', () => {
    const network = networkOf('blue', { subnet: ['10.30.0.0/24'], gateway: ['10.30.0.1'], vlan: 100 })
    const rows = [{ ...network, status: { usage: { total: 253, used: 2 } } }]
    expect(words(renderTable(networkColumns, rows, { wide: false }))[1]).toEqual([
      'blue',
      'pods',
      '10.30.0.2',
      '253',
      '2',
      '10.30.0.1',
      '100',
      '-',
      '-',
    ])
  })

  it('of a tier', () => {
    const tier = perfTierOf('gold', { storageIops: '1k', maxStorageIops: '10K', networkBw: '0.5G', maxNetworkBw: '2G' })
    expect(words(renderTable(perfTierColumns, [tier], { wide: false }))[1]).toEqual([
      'gold',
      '1k',
      '500M',
      '10k',
      '2G',
      '-',
    ])
  })

  it('of an attached endpoint', () => {
    expect(words(renderTable(endpointColumns, [attached()], { wide: true }))[1]).toEqual([
      ...['ep1', 'default', '0123456789ab', 'blue', '10.30.0.50', '02:00:00:00:00:01', '10.30.0.1', '100', 'cb1', 'n1'],
      ...['app=web', 'eth0', '-', 'Attached', 'gold', '500M', '480M', '99%', '1M', '97.5%', '7'],
    ])
  })

  it('of one that nothing is known about', () => {
    const bare: EndpointRow = { endpoint: { metadata: { name: 'ep2' }, spec: { networkName: 'blue', isStatic: true } } }
    expect(words(renderTable(endpointColumns, [bare], { wide: true }))[1]).toHaveLength(endpointColumns.length)
  })
})

describe('tiers', () => {
  it('refuses a cap below its floor', () => {
    expect(() => perfTierOf('gold', { networkBw: '2G', maxNetworkBw: '1G' })).toThrow('is below')
    expect(() => perfTierOf('gold', { storageIops: '2k', maxStorageIops: '1k' })).toThrow('is below')
  })
})

describe('state', () => {
  const { endpoint } = attached()
  it.each<[string, Endpoint]>([
    ['Attached', endpoint],
    ['Releasing', { ...endpoint, metadata: { ...endpoint.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }],
    ['Pending', { ...endpoint, metadata: { ...endpoint.metadata, generation: 3 } }],
    ['Allocated', { ...endpoint, spec: { ...endpoint.spec, holder: undefined } }],
  ])('is %s', (expected, object) => {
    expect(stateOf(object)).toBe(expected)
  })
})

describe('describe', () => {
  it('tells promised, delivered, attainment and each reason for drops', () => {
    const text = describeEndpoint(attached(), new Date('2026-01-01T01:00:00Z'))
    expect(text).toMatch(/^Bandwidth$/m)
    expect(text).toMatch(/Promised: +500 Mbit\/s/)
    expect(text).toMatch(/Delivered: +480 Mbit\/s/)
    expect(text).toMatch(/Attainment: +99% \(99 of 100 /)
    expect(text).toMatch(/Received: +1 Mbit\/s/)
    expect(text).toMatch(/Receive attainment: +97\.5% \(39 of 40 /)
    expect(text).toMatch(/spoofed-mac: +7/)
    expect(text).not.toContain('spoofed-arp')
  })

  it('names what comes and goes together', () => {
    const row = attached()
    const sibling = (name: string, interfaceName: string, primaryInterface?: string): Endpoint => ({
      metadata: { name },
      spec: { ...row.endpoint.spec, holder: { containerId: '0', interfaceName, primaryInterface } },
    })
    const siblings = [sibling('b', 'eth2', 'eth0'), sibling('a', 'eth1', 'eth0'), sibling('c', 'net1')]
    expect(describeEndpoint({ ...row, siblings }, new Date())).toMatch(
      /Children: +eth1 \(endpoint a\), eth2 \(endpoint b\)/,
    )
    const child = { ...row, endpoint: sibling('a', 'eth1', 'eth0'), siblings: [sibling('p', 'eth0')] }
    expect(describeEndpoint(child, new Date())).toMatch(/Comes with: +eth0 \(endpoint p\)/)
  })

  it('shows why control refused', () => {
    const row = attached()
    row.endpoint.status = {
      allocation: {
        state: 'Refused',
        generation: 2,
        code: 'Exhausted',
        message: 'no address left',
        remedy: 'Add some.',
      },
    }
    expect(describeEndpoint({ endpoint: row.endpoint }, new Date())).toContain('Refused: no address left\n  Add some.')
  })
})

function words(table: string): string[][] {
  return table.split('\n').map((line) => line.split(/ +/))
}

function attached(): EndpointRow {
  return {
    endpoint: {
      metadata: { name: 'ep1', namespace: 'default', uid: 'u1', generation: 2, labels: { app: 'web' } },
      spec: {
        networkName: 'blue',
        isStatic: true,
        nodeName: 'n1',
        holder: { containerId: '0123456789abcdef', interfaceName: 'eth0' },
      },
      status: {
        allocation: {
          state: 'Allocated',
          generation: 2,
          addresses: [{ address: '10.30.0.50', prefixLength: 24, gateway: '10.30.0.1' }],
          macAddress: '02:00:00:00:00:01',
          vlan: 100,
          perfTierName: 'gold',
          bandwidthFloor: 500e6,
        },
        attachment: {
          nodeName: 'n1',
          containerId: '0123456789abcdef',
          hostInterface: 'cb1',
          since: '2026-01-01T00:00:00Z',
        },
      },
    },
    live: {
      namespace: 'default',
      name: 'ep1',
      endpointId: 'u1',
      containerId: '0123456789abcdef',
      interfaceName: 'eth0',
      bandwidthFloor: 500e6,
      sentBytes: 1000,
      sentPackets: 10,
      receivedBytes: 2000,
      receivedPackets: 20,
      deliveredBytes: 900,
      drops: { ...zeroCounters('u1').drops, 'spoofed-mac': 7 },
      windows: { withDemand: 100, attained: 99 },
      receive: { promised: 500e6, delivered: 1e6, windows: { withDemand: 40, attained: 39 } },
      rates: { sent: 500e6, received: 1e6, delivered: 480e6, drops: {} },
      isLinkUp: true,
    },
  }
}
