import { benchPod } from './bench-pod.ts'
import { expectedSetting, PodNetworks, type PodNetwork } from './pod-networks.ts'
import { applyObjects, kubectl } from '../../lab/kubernetes/index.ts'
import { compareRounds, quantile } from '../statistics.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import type { KubernetesLab } from './kubernetes-lab.ts'
import { PhaseWatch } from './phase-watch.ts'

const comparedWith = 'bridge + host-local'
const rows = {
  hundred: { name: '100 pods at once on three nodes: create to Running, p50', unit: 'ratio', comparedWith, target: { atMost: 1 } },
  running: { name: '300 pods at once on three nodes: all Running', unit: 'ratio', comparedWith, target: { atMost: 1 } },
  deleted: { name: '300 pods on three nodes: all deleted', unit: 'ratio', comparedWith, target: { atMost: 1 } },
  duplicates: { name: '300 pods on three nodes: addresses given twice', unit: 'addresses', target: { exactly: 0 } },
  leaks: { name: '300 pods on three nodes: endpoints, claims and interfaces left after deletion', unit: 'objects', target: { exactly: 0 } },
} as const // prettier-ignore

/** What one round of pods took, in milliseconds. */
interface Round {
  /** From when a pod was seen until it was Running. */
  p50: number
  /** The same from the first request on: it has in it what creation itself waits for, such as webhooks. */
  p50SinceBegin: number
  allRunning: number
  allDeleted: number
  duplicates: number
  left: number
}

/** Pods on Carbonado and on the standard plugins, turn by turn on the same nodes. */
export const podsGroup: Group<KubernetesLab> = {
  rows: Object.values(rows),
  async measure({ lab }, wanted, context) {
    const networks = await PodNetworks.prepare(lab)
    const result: Record<string, Measurement> = {}
    await round(networks.carbonado, networks, 12, context) // images, caches
    await round(networks.bridge, networks, 12, context)
    if (wanted.has(rows.hundred.name)) {
      const both = await compare(networks, context.quick ? 30 : 100, context.quick ? 1 : 3, context)
      const sinceBegin = ratio(both, ({ p50SinceBegin }) => p50SinceBegin)
      const seen = ratio(both, ({ p50 }) => p50)
      result[rows.hundred.name] = {
        ...seen,
        detail: `${seen.detail}; from the first request on: ${sinceBegin.value.toFixed(2)}`,
      }
    }
    if ([rows.running, rows.deleted, rows.duplicates, rows.leaks].some(({ name }) => wanted.has(name))) {
      const both = await compare(networks, context.quick ? 60 : 300, context.quick ? 1 : 2, context)
      const sum = (pick: (each: Round) => number): number => both.ours.reduce((total, each) => total + pick(each), 0)
      result[rows.running.name] = ratio(both, ({ allRunning }) => allRunning)
      result[rows.deleted.name] = ratio(both, ({ allDeleted }) => allDeleted)
      result[rows.duplicates.name] = { value: sum(({ duplicates }) => duplicates) }
      result[rows.leaks.name] = { value: sum(({ left }) => left) }
    }
    return result
  },
}

interface Both {
  ours: Round[]
  theirs: Round[]
}

async function compare(networks: PodNetworks, count: number, rounds: number, context: RunContext): Promise<Both> {
  const both: Both = { ours: [], theirs: [] }
  for (let index = 0; index < rounds; index++) {
    const ours = async (): Promise<void> =>
      void both.ours.push(await round(networks.carbonado, networks, count, context))
    const theirs = async (): Promise<void> =>
      void both.theirs.push(await round(networks.bridge, networks, count, context))
    const turns = index % 2 === 0 ? [ours, theirs] : [theirs, ours] // neither is always the one that comes second
    for (const turn of turns) await turn()
  }
  return both
}

function ratio({ ours, theirs }: Both, pick: (round: Round) => number): { value: number; detail: string } {
  const [mine, others] = [ours.map(pick), theirs.map(pick)]
  const { median, lowest, highest } = compareRounds(mine, others)
  const seconds = (values: number[]): string => values.map((value) => (value / 1000).toFixed(2)).join(', ')
  return { value: median, detail: `ratios ${lowest.toFixed(2)} to ${highest.toFixed(2)}; s: ${seconds(mine)} against ${seconds(others)}` } // prettier-ignore
}

async function round(network: PodNetwork, networks: PodNetworks, count: number, context: RunContext): Promise<Round> {
  await networks.use(network)
  await using watch = new PhaseWatch({ resource: 'pods', selector: 'app=bench', phase: 'Running' })
  const begin = performance.now()
  await applyObjects(
    Array.from({ length: count }, (_, index) =>
      benchPod(`bench-${index}`, { labels: { app: 'bench' }, annotations: network.annotations }),
    ),
  )
  await watch.reached(count, 300_000)
  const pods = [...watch.seen.values()]
  const allRunning = Math.max(...pods.map(({ reachedAt }) => reachedAt!)) - begin
  const p50 = quantile(pods.map(({ createdAt, reachedAt }) => reachedAt! - createdAt), 0.5) // prettier-ignore
  const p50SinceBegin = quantile(pods.map(({ reachedAt }) => reachedAt! - begin), 0.5) // prettier-ignore
  const addresses = (await kubectl(['get', 'pods', '-l', 'app=bench', '-o', 'jsonpath={.items[*].status.podIP}'])).split(' ') // prettier-ignore
  if (addresses.length !== count || !addresses.every((address) => network.hasAddress(address))) {
    throw new Error(`${addresses.length} of ${count} pods have an address, expected one of ${expectedSetting(network)}`)
  }
  const deleting = performance.now()
  await kubectl(['delete', 'pod', '-l', 'app=bench', '--wait=true', '--timeout=280s'], { deadline: 285_000 })
  const allDeleted = performance.now() - deleting
  const left = await networks.leftOver()
  const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`
  context.progress(`${count} pods on ${network.name}: p50 ${seconds(p50)}, all Running ${seconds(allRunning)}, deleted ${seconds(allDeleted)}, ${left} left`) // prettier-ignore
  return { p50, p50SinceBegin, allRunning, allDeleted, duplicates: count - new Set(addresses).size, left }
}
