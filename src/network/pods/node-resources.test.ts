import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Endpoint, Pod } from '../../api/index.ts'
import { publishedShare } from './node-resources.ts'

const total = { interfaces: 100, bandwidth: 940e6 }

function podOf(uid: string, interfaces: number, bandwidth: number | string, phase = 'Running'): Pod {
  const requests = { 'carbonado.io/interfaces': String(interfaces), 'carbonado.io/bandwidth': String(bandwidth) }
  return { metadata: { name: uid, uid }, spec: { containers: [{ name: 'main', resources: { requests } }] }, status: { phase } } // prettier-ignore
}

function endpointOf(podUid: string | undefined, bandwidthFloor: number): Endpoint {
  const ownerReferences = podUid === undefined ? [] : [{ apiVersion: 'v1', kind: 'Pod', name: podUid, uid: podUid }]
  return {
    metadata: { name: 'e', namespace: 'default', generation: 1, ownerReferences },
    spec: { networkName: 'blue', isStatic: false, nodeName: 'n1' },
    status: { allocation: { state: 'Allocated', generation: 1, addresses: [], macAddress: '', vlan: 1, bandwidthFloor } },
  } // prettier-ignore
}

describe('what a node has for pods', () => {
  it('is everything while what is promised is covered by requests', () => {
    expect(publishedShare(total, [endpointOf('a', 500e6)], [podOf('a', 1, 500e6)])).toEqual(total)
  })

  it.each<[string, Endpoint[], Pod[], number, number]>([
    ['an endpoint without a pod', [endpointOf(undefined, 40e6)], [], 99, 900e6],
    ['a pod that is gone and still attached', [endpointOf('gone', 40e6)], [podOf('a', 1, 0)], 99, 900e6],
    ['a pod that has ended and still has it', [endpointOf('a', 40e6)], [podOf('a', 1, 40e6, 'Succeeded')], 99, 900e6],
    ['a tier that was raised since', [endpointOf('a', 140e6)], [podOf('a', 1, 100e6)], 100, 900e6],
    ['a pod made while control was away', [endpointOf('a', 40e6)], [{ ...podOf('a', 0, 0), spec: { containers: [] } }], 99, 900e6],
  ])('is less by %s', (_what, endpoints, pods, interfaces, bandwidth) => {
    expect(publishedShare(total, endpoints, pods)).toEqual({ interfaces, bandwidth })
  }) // prettier-ignore

  it.each<[string, number]>([
    ['1e6', 901e6],
    ['1500000m', 900e6 + 1500],
    ['a lot', 900e6],
  ])('is reckoned beside a pod that wrote its request as %s', (text, bandwidth) => {
    const endpoints = [endpointOf('a', 40e6)]
    expect(publishedShare(total, endpoints, [podOf('a', 1, text)]).bandwidth).toBe(bandwidth)
  })

  it('with the requests of its pods never exceeds what the node has beside everything promised', () => {
    const floor = fc.integer({ min: 0, max: 300e6 })
    const uid = fc.constantFrom('a', 'b', 'c', undefined)
    fc.assert(
      fc.property(fc.array(fc.tuple(uid, floor)), fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'c'), floor), { selector: ([each]) => each }), (held, requests) => {
        const endpoints = held.map(([owner, bandwidth]) => endpointOf(owner, bandwidth))
        const pods = requests.map(([owner, bandwidth]) => podOf(owner, 1, bandwidth))
        const { bandwidth } = publishedShare({ interfaces: 100, bandwidth: 10e9 }, endpoints, pods)
        const requested = requests.reduce((sum, [, each]) => sum + each, 0)
        const promised = held.reduce((sum, [, each]) => sum + each, 0)
        // what the scheduler may still give away fits beside all that is promised, whoever has it
        expect(bandwidth - requested).toBeLessThanOrEqual(10e9 - promised)
      }),
    ) // prettier-ignore
  })
})
