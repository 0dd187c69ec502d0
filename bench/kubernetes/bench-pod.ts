import { imageReference } from '../../lab/kubernetes/index.ts'

/** What a benchmark's pods have beside their container. */
export interface BenchPodOptions {
  labels: Record<string, string>
  annotations: Record<string, string>
  /** A claim that is mounted at /data. */
  claimName?: string
}

/** A pod that does nothing, and ends when it is told to, so that deletion is not a matter of patience. */
export function benchPod(name: string, { labels, annotations, claimName }: BenchPodOptions): object {
  const command = ['sh', '-c', 'trap exit TERM; sleep infinity & wait']
  const mounts = claimName === undefined ? {} : { volumeMounts: [{ name: 'data', mountPath: '/data' }] }
  const volumes = claimName === undefined ? {} : { volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }] }
  const container = { name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command, ...mounts }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels, annotations },
    spec: { terminationGracePeriodSeconds: 5, containers: [container], ...volumes },
  }
}
