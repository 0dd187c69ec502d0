import { describe, expect, it } from 'vitest'
import { Endpoint, Network, PerfTier, type KindDefinition, type KubeObject, type Pod } from '../../api/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { networkDemandOf } from './network-demand.ts'
import { requestedBy, resourcesPatch } from './pod-resources.ts'

const network = (name: string, spec: Partial<Network['spec']> = {}): [KindDefinition, Network] => [
  Network as KindDefinition,
  { metadata: { name }, spec: { subnets: [{ cidr: '10.30.0.0/24', ranges: [] }], plane: 'pods', isDefault: false, ...spec } },
] // prettier-ignore
const tier = (name: string, networkBandwidth: string): [KindDefinition, PerfTier] => [
  PerfTier as KindDefinition,
  { metadata: { name }, spec: { networkBandwidth } },
]
const staticEndpoint = (name: string, perfTierName?: string): [KindDefinition, Endpoint] => [
  Endpoint as KindDefinition,
  { metadata: { name, namespace: 'shop' }, spec: { networkName: 'blue', isStatic: true, ...(perfTierName ? { perfTierName } : {}) } },
] // prettier-ignore

function readerOf(...objects: [KindDefinition, KubeObject][]): SyncReader {
  const all = (kind: KindDefinition<never>): KubeObject[] => objects.filter(([of]) => of === (kind as KindDefinition)).map(([, object]) => object) // prettier-ignore
  return {
    get: (kind, { name, namespace }) =>
      all(kind as never).find(({ metadata }) => metadata.name === name && metadata.namespace === namespace) as never,
    list: (kind) => all(kind as never) as never,
  }
}

function podOf(annotations: Record<string, string>, more: Partial<Pod['spec']> = {}): Pod {
  return {
    metadata: { name: 'web-1', namespace: 'shop', annotations },
    spec: { containers: [{ name: 'main' }, { name: 'sidecar' }], ...more },
  }
}

const cluster = readerOf(
  network('blue', { perfTierName: 'medium' }),
  network('storage-only', { isSecondary: true }),
  tier('medium', '125M'),
  tier('high', '500M'),
  staticEndpoint('db', 'high'),
  staticEndpoint('web-0'),
  staticEndpoint('web-1', 'high'),
)

describe('what a pod takes', () => {
  it.each<[string, Record<string, string>, number, number]>([
    ['the tier of its network', { 'carbonado.io/endpoint0': '{"network":"blue"}' }, 1, 125e6],
    ['its own tier', { 'diamanti.com/endpoint0': '{"network":"blue","perfTier":"high"}' }, 1, 500e6],
    ['all its interfaces', { 'carbonado.io/endpoint0': '{"network":"blue"}', 'carbonado.io/endpoint1': '{"network":"storage-only","perfTier":"high"}' }, 2, 625e6],
    ['the tier of a static endpoint', { 'carbonado.io/endpoint0': '{"endpointId":"db"}' }, 1, 500e6],
    ['that of its own ordinal', { 'carbonado.io/endpoint0': '{"endpointPrefix":"web"}' }, 1, 500e6],
    ['nothing when it opts out', { 'carbonado.io/endpoint': 'none' }, 0, 0],
    ['one interface without annotations and without a default network', {}, 1, 0],
  ])('is %s', (_what, annotations, interfaces, bandwidth) => {
    expect(networkDemandOf(podOf(annotations), cluster)).toMatchObject({ interfaces, bandwidth })
  }) // prettier-ignore

  it('is that of the default network when it says nothing', () => {
    const reader = readerOf(network('pods', { isDefault: true, perfTierName: 'medium' }), tier('medium', '125M'))
    expect(networkDemandOf(podOf({}), reader)).toEqual({ interfaces: 1, bandwidth: 125e6, networkNames: ['pods'], newAddresses: { pods: 1 } }) // prettier-ignore
  })

  it('is nothing on the network of its node', () => {
    expect(networkDemandOf(podOf({}, { hostNetwork: true }), cluster).interfaces).toBe(0)
  })

  it.each<[string, Record<string, string>, RegExp, Partial<Pod['spec']>?]>([
    ['an unknown network', { 'carbonado.io/endpoint0': '{"network":"purple"}' }, /network purple does not exist/],
    ['an unknown tier', { 'carbonado.io/endpoint0': '{"network":"blue","perfTier":"gold"}' }, /perf-tier gold does not exist/],
    ['an unknown endpoint', { 'carbonado.io/endpoint0': '{"endpointId":"nobody"}' }, /static endpoint shop\/nobody does not exist/],
    ['an ordinal without endpoint', { 'carbonado.io/endpoint0': '{"endpointPrefix":"db"}' }, /static endpoint shop\/db-1 does not exist/],
    ['a network group of nobody', { 'carbonado.io/endpoint0': '{"networkGroup":"g"}' }, /no network belongs to the network group g/],
    ['a secondary network as the first', { 'carbonado.io/endpoint0': '{"network":"storage-only"}' }, /for further interfaces only/],
    ['text that is not JSON', { 'carbonado.io/endpoint0': 'blue' }, /is not JSON/],
    ['hostNetwork', { 'carbonado.io/endpoint0': '{"network":"blue"}' }, /hostNetwork/, { hostNetwork: true }],
  ])('is refused for %s', (_what, annotations, why, spec = {}) => {
    expect(() => networkDemandOf(podOf(annotations, spec), cluster)).toThrow(why)
  }) // prettier-ignore
})

describe('the requests of a pod', () => {
  const demand = { interfaces: 2, bandwidth: 625e6, networkNames: [], newAddresses: {} }

  it('are on its first container, beside what is there', () => {
    const pod = podOf({}, { containers: [{ name: 'main', resources: { requests: { cpu: '1' } } }] })
    const [operation, ...others] = resourcesPatch(pod, demand)
    const own = { 'carbonado.io/interfaces': '2', 'carbonado.io/bandwidth': '625000000' }
    expect(others).toEqual([])
    expect(operation).toEqual({
      op: 'add',
      path: '/spec/containers/0/resources',
      value: { requests: { cpu: '1', ...own }, limits: own },
    })
  })

  it('replace those that came with a copied pod, on any container', () => {
    const old = { 'carbonado.io/bandwidth': '1G' }
    const pod = podOf(
      {},
      { containers: [{ name: 'main' }, { name: 'other', resources: { requests: old, limits: old } }] },
    )
    expect(resourcesPatch(pod, { ...demand, bandwidth: 0 })).toEqual([
      { op: 'add', path: '/spec/containers/0/resources', value: { requests: { 'carbonado.io/interfaces': '2' }, limits: { 'carbonado.io/interfaces': '2' } } },
      { op: 'add', path: '/spec/containers/1/resources', value: { requests: {}, limits: {} } },
    ]) // prettier-ignore
  })

  it('are read as the API server writes them', () => {
    const requests = { 'carbonado.io/interfaces': '2', 'carbonado.io/bandwidth': '625M' }
    const pod = podOf({}, { containers: [{ name: 'main', resources: { requests } }] })
    expect(requestedBy(pod)).toEqual({ interfaces: 2, bandwidth: 625e6 })
  })
})
