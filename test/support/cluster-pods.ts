import { Lab, takeLabDown } from '../../lab/index.ts'
import { applyObjects, imageReference, kubectl } from '../../lab/kubernetes/index.ts'
import { formatDrives } from './cluster-drives.ts'

/** The network of all pods. */
const podNetwork = {
  apiVersion: 'carbonado.io/v1alpha1',
  kind: 'Network',
  metadata: { name: 'blue' },
  spec: { subnets: [{ cidr: '10.30.0.0/22', gateway: '10.30.0.1' }], vlan: 100 },
}

/** Starts a cluster with a network for pods and pools for their volumes, in place of one that a killed run has left. */
export async function bringUpCluster(): Promise<Lab> {
  await takeLabDown()
  const lab = await Lab.up({ kubernetes: true, rate: null })
  await applyObjects([podNetwork])
  await formatDrives(lab.nodes)
  return lab
}

/** Where a pod is to be, and what it has. */
export interface PodPlace {
  node?: string
  namespace?: string
  app?: string
  /** Has a volume that comes and goes with it. */
  hasVolume?: boolean
  /** Uses the claim of its name. */
  hasClaim?: boolean
}

const claimSpec = {
  storageClassName: 'carbonado-best-effort',
  accessModes: ['ReadWriteOnce'],
  resources: { requests: { storage: '64Mi' } },
}

/** A claim that pods of `hasClaim` use. */
export const claim = (name: string, namespace: string): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name, namespace },
  spec: claimSpec,
})

/** What a pod mounts at /data. */
function volumesOf(name: string, { hasVolume = false, hasClaim = false }: PodPlace): object[] {
  if (hasVolume) return [{ name: 'data', ephemeral: { volumeClaimTemplate: { spec: claimSpec } } }]
  return hasClaim ? [{ name: 'data', persistentVolumeClaim: { claimName: name } }] : []
}

/** A pod with an interface in the network that sleeps until it is deleted. */
export function pod(name: string, place: PodPlace = {}): object {
  const { node, namespace = 'default', app = 'test' } = place
  const volumes = volumesOf(name, place)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app }, annotations: { 'carbonado.io/endpoint0': '{"network":"blue"}' } },
    spec: {
      ...(node ? { nodeSelector: { 'kubernetes.io/hostname': node } } : {}),
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['sleep', 'infinity'], volumeMounts: volumes.map(() => ({ name: 'data', mountPath: '/data' })) }],
      volumes,
    },
  } // prettier-ignore
}

/** Makes pods and waits until all are ready. */
export async function startPods(...pods: [string, PodPlace?][]): Promise<void> {
  await applyObjects(pods.map(([name, place]) => pod(name, place)))
  const namespaces = Map.groupBy(pods, ([, place]) => place?.namespace ?? 'default')
  for (const [namespace, group] of namespaces) {
    const wait = ['wait', 'pod', ...group.map(([name]) => name), '--for=condition=Ready', '--timeout=120s']
    await kubectl(['-n', namespace, ...wait], { deadline: 125_000 })
  }
}

/** Deletes pods of the namespace `default` and waits until they are gone. */
export function removePods(...names: string[]): Promise<string> {
  return kubectl(['delete', 'pod', ...names, '--wait=true', '--timeout=90s'], { deadline: 95_000 })
}

/** Deletes what a test that failed left of pods; those of the next one start from nothing. */
export function removeAllPods(): Promise<string> {
  return kubectl(['delete', 'pod', '-l', 'app in (test,churn)', '--wait=true', '--timeout=60s'], { deadline: 65_000 })
}

/** What changes when a pod is another one, has another address or had its container started again. */
export function identityOf(name: string): Promise<string> {
  const fields = '{.metadata.uid} {.status.podIP} {.status.containerStatuses[0].restartCount}'
  return kubectl(['get', 'pod', name, '-o', `jsonpath=${fields}`])
}

/** Names of all endpoints and of what is claimed for them; empty when there are none. */
export function endpointNames(): Promise<string> {
  return kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name'])
}
