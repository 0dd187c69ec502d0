import { Drive } from '../../src/api/index.ts'
import { applyObjects, kubectl } from '../../lab/kubernetes/index.ts'
import { waitFor } from '../../lab/processes.ts'
import { quantile } from '../statistics.ts'
import type { Group, RunContext } from '../suite.ts'
import { benchPod } from './bench-pod.ts'
import type { KubernetesLab } from './kubernetes-lab.ts'
import { PhaseWatch } from './phase-watch.ts'
import { PodNetworks } from './pod-networks.ts'

/** Nothing to compare with can be built from public Go modules: see docs/performance.md. */
const row = { name: '100 claims, ten at once: create to Bound to a pod Running with it, p50', unit: 's' } as const

const batch = 10
const labels = { app: 'claims' }

/** Claims of the chart's own class, each with a pod that waits for it; and the same pods without. */
export const claimsGroup: Group<KubernetesLab> = {
  rows: [row],
  async measure({ lab }, _wanted, context) {
    const networks = await PodNetworks.prepare(lab)
    await networks.use(networks.carbonado)
    const { annotations } = networks.carbonado
    await formatDrives(lab.nodes.length)
    await runBatch({ annotations, hasClaims: true }) // images, caches
    const [bound, running, without]: [number[], number[], number[]] = [[], [], []]
    for (let done = 0; done < (context.quick ? 20 : 100); done += batch) {
      const pods = await runBatch({ annotations, hasClaims: false })
      const claims = await runBatch({ annotations, hasClaims: true })
      without.push(...pods.running)
      bound.push(...claims.bound)
      running.push(...claims.running)
      tell(context, done + batch, running)
    }
    const p50 = (values: number[]): string => quantile(values, 0.5).toFixed(2)
    const detail = `Bound after ${p50(bound)}; p90 ${quantile(running, 0.9).toFixed(2)}; the same pods without claims: ${p50(without)}`
    return { [row.name]: { value: quantile(running, 0.5), detail } }
  },
}

function tell({ progress }: RunContext, count: number, running: number[]): void {
  progress(`${count} claims: p50 ${quantile(running, 0.5).toFixed(2)} s`)
}

/** Gives the drive of every node to volumes. */
async function formatDrives(count: number): Promise<void> {
  const drives = async (): Promise<Drive[]> =>
    (JSON.parse(await kubectl(['get', 'drives.carbonado.io', '-o', 'json'])) as { items: Drive[] }).items
  await waitFor('the drives', async () => (await drives()).length === count, { deadline: 60_000, interval: 200 })
  for (const { metadata } of await drives()) {
    const wish = JSON.stringify({ spec: { format: { requestId: `bench-${metadata.name}` } } })
    await kubectl(['patch', 'drives.carbonado.io', metadata.name, '--type=merge', '-p', wish])
  }
  const areReady = async (): Promise<boolean> =>
    (await drives()).every(({ status }) => status?.agent?.state === 'Ready' && status.capacity !== undefined)
  await waitFor('the pools', areReady, { deadline: 120_000, interval: 500 })
}

/** Seconds from when claim or pod was first seen; `running` from whichever was first. */
interface BatchTimes {
  bound: number[]
  running: number[]
}

async function runBatch({ annotations, hasClaims }: { annotations: Record<string, string>; hasClaims: boolean }): Promise<BatchTimes> {
  const names = Array.from({ length: batch }, (_, index) => `claims-${index}`)
  await using claims = new PhaseWatch({ resource: 'persistentvolumeclaims', selector: 'app=claims', phase: 'Bound' })
  await using pods = new PhaseWatch({ resource: 'pods', selector: 'app=claims', phase: 'Running' })
  await applyObjects([
    ...(hasClaims ? names.map(claim) : []),
    ...names.map((name) => benchPod(name, { labels, annotations, ...(hasClaims ? { claimName: name } : {}) })),
  ])
  await pods.reached(batch, 180_000)
  if (hasClaims) await claims.reached(batch, 10_000)
  const since = (name: string): number => claims.seen.get(name)?.createdAt ?? pods.seen.get(name)!.createdAt
  const seconds = (watch: PhaseWatch): number[] =>
    [...watch.seen].map(([name, { reachedAt }]) => (reachedAt! - since(name)) / 1000)
  const times = { bound: seconds(claims), running: seconds(pods) }
  await kubectl(['delete', 'pods,persistentvolumeclaims', '-l', 'app=claims', '--wait=true', '--timeout=120s'], { deadline: 125_000 })
  return times
} // prettier-ignore

function claim(name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, labels },
    spec: {
      storageClassName: 'carbonado-best-effort',
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '64Mi' } },
    },
  }
}
