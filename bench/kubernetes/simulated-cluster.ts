import {
  AddressClaim,
  Drive,
  Endpoint,
  KubernetesNode,
  Network,
  Node,
  PerfTier,
  PersistentVolumeClaim,
  Pod,
  StorageClass,
} from '../../src/api/index.ts'
import { SimulatedStore } from './simulated-store.ts'

/** How large a simulated cluster is. */
export interface ClusterSize {
  nodes: number
  pods: number
}

const namespace = 'default'
const total = 23_500_000_000
const floor = 125_000_000

/** Name of a simulated node, from 0. */
export function nodeName(index: number): string {
  return `node-${String(index).padStart(4, '0')}`
}

/** A cluster as control sees it: pods spread over the nodes, each with an interface that has a floor, and drives. */
export function simulatedCluster({ nodes, pods }: ClusterSize): SimulatedStore {
  const store = new SimulatedStore()
  const each = <T>(count: number, make: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, index) => make(index))
  const perNode = Math.ceil(pods / nodes)
  const ready = { state: true, reason: 'AgentAlive', message: '', since: '' }
  const agent = { heartbeat: '', address: '', version: '', linkRate: 25e9, mtu: 1500, carrier: true, problems: [] }
  const promised = { bandwidth: { promised: perNode * floor, total }, interfaces: { promised: perNode, total: 1000 } }
  store.fill(Node, each(nodes, (index) => ({
    metadata: { name: nodeName(index) },
    spec: { uplinks: { pods: { interface: 'eth1', rate: '25G' } }, maximumInterfaces: 1000 },
    status: { ready, agent, capacity: promised },
  }))) // prettier-ignore
  const resources = { 'carbonado.io/bandwidth': '23500M', 'carbonado.io/interfaces': '1k' }
  store.fill(KubernetesNode, each(nodes, (index) => ({ metadata: { name: nodeName(index) }, status: { capacity: resources, allocatable: resources } }))) // prettier-ignore
  store.fill(Network, [{
    metadata: { name: 'blue' },
    spec: { subnets: [{ cidr: '10.64.0.0/12', ranges: [] }], vlan: 100, plane: 'pods', isDefault: false, perfTierName: 'medium' },
    status: { usage: { total: 1_048_000, used: pods } },
  }]) // prettier-ignore
  store.fill(PerfTier, [{ metadata: { name: 'medium' }, spec: { networkBandwidth: '125M', storageIops: '5k' } }])
  store.fill(StorageClass, [{ metadata: { name: 'medium' }, provisioner: 'csi.carbonado.io', parameters: { perfTier: 'medium' } }]) // prettier-ignore
  store.fill(PersistentVolumeClaim, [{
    metadata: { name: 'data', namespace },
    spec: { storageClassName: 'medium', resources: { requests: { storage: '10Gi' } } },
  }]) // prettier-ignore
  store.fill(
    Drive,
    each(nodes * 4, (index) => driveOf(index, nodeName(Math.floor(index / 4)))),
  )
  store.fill(Endpoint, each(pods, (index) => ({
    metadata: { name: `pod-${index}-eth0`, namespace, generation: 1 },
    spec: { networkName: 'blue', isStatic: false, nodeName: nodeName(index % nodes) },
    status: { allocation: { state: 'Allocated' as const, generation: 1, addresses: [], macAddress: '', vlan: 100, bandwidthFloor: floor } },
  }))) // prettier-ignore
  store.fill(AddressClaim, each(pods, (index) => ({
    metadata: { name: `pods-100.${index}` },
    spec: { l2Domain: 'pods-100', address: `10.64.${index >> 8}.${index & 255}`, networkName: 'blue', endpoint: { namespace, name: `pod-${index}-eth0`, uid: '' } },
  }))) // prettier-ignore
  store.fill(
    Pod,
    each(pods, (index) => podOf(`pod-${index}`, nodeName(index % nodes))),
  )
  return store
}

function driveOf(index: number, node: string): Drive {
  const pool = {
    id: `pool-${index}`,
    format: 'lvm-thin' as const,
    capacity: 2 ** 42,
    used: 2 ** 40,
    held: 0,
    measuredAt: '',
  }
  const calibration = { readIops: 800_000, writeIops: 400_000, readBandwidth: 0, writeBandwidth: 0, measuredAt: '' }
  return {
    metadata: { name: `${node}.nvme${index % 4}` },
    spec: { nodeName: node, device: `/dev/nvme${index % 4}n1` },
    status: {
      agent: { state: 'Ready', size: 2 ** 42, found: [], pool, calibration },
      capacity: { space: { promised: 2 ** 40, total: 2 ** 42 }, iops: { promised: 100_000, total: 360_000 } },
    },
  } as Drive
}

/** A pod with an interface and a claim, as the API server has it. */
export function podOf(name: string, node?: string): Pod {
  const requests = { 'carbonado.io/bandwidth': '125M', 'carbonado.io/interfaces': '1', cpu: '100m', memory: '128Mi' }
  const pod = {
    metadata: { name, namespace, annotations: { 'carbonado.io/endpoint0': '{"network":"blue","perfTier":"medium"}' } },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      containers: [{ name: 'main', image: 'registry.example/app:1', resources: { requests, limits: requests } }],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    },
    status: { phase: node === undefined ? 'Pending' : 'Running' },
  }
  return pod
}
