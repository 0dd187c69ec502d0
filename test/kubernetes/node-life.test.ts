import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Lab } from '../../lab/index.ts'
import { applyObjects, kubectl, startNodeProgram, waitForReadyKubernetesNodes } from '../../lab/kubernetes/index.ts'
import { endProgram } from '../../lab/programs.ts'
import {
  bringUpCluster,
  claim,
  endpointNames,
  pod,
  removeAllPods,
  removePods,
  startPods,
  type PodPlace,
} from '../support/cluster-pods.ts'
import { settledClusterTraces, takeClusterTraces } from '../support/cluster-traces.ts'
import { NumberedPackets } from '../support/pod-traffic.ts'
import { seededRandom } from '../support/random.ts'

/** Seconds of churn: ten minutes with CARBONADO_CHURN_SECONDS=600. */
const churn = Number(process.env.CARBONADO_CHURN_SECONDS ?? 30)

let lab: Lab

beforeAll(async () => {
  lab = await bringUpCluster()
})
afterAll(() => lab?.down())
afterEach(removeAllPods)

/** How many endpoints have an interface on the host's side of a node. */
async function interfacesOf(node: string): Promise<number> {
  const { stdout } = await lab.nodeExec(node, ['ip', '-br', 'link', 'show', 'type', 'veth'])
  return stdout.split('\n').filter((line) => line.startsWith('cbn')).length
}

describe('a node', () => {
  test('is drained: its pods end and their addresses are free, and it takes pods again', async () => {
    const before = await interfacesOf('n3')
    await startPods(['a', { node: 'n3' }], ['b', { node: 'n2' }])
    expect(await interfacesOf('n3')).toBe(before + 1)
    await kubectl(['drain', 'n3', '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=90s'], { deadline: 95_000 }) // prettier-ignore
    await expect.poll(endpointNames, { timeout: 30_000 }).not.toContain('/a-')
    await expect.poll(() => interfacesOf('n3'), { timeout: 30_000 }).toBe(before)
    await kubectl(['uncordon', 'n3'])
    await startPods(['c', { node: 'n3' }])
    await removePods('b', 'c')
  })

  test('loses power and comes back: what was on it is gone from kernel and store, and it works', async () => {
    await startPods(['a', { node: 'n3' }], ['b', { node: 'n2' }])
    await lab.killNode('n3')
    await kubectl(['wait', 'node', 'n3', '--for=condition=Ready=Unknown', '--timeout=90s'], { deadline: 95_000 })
    await kubectl(['delete', 'pod', 'a', '--wait=false'])
    await lab.startNode('n3')
    await waitForReadyKubernetesNodes()
    await kubectl(['wait', 'pod', 'a', '--for=delete', '--timeout=120s'], { deadline: 125_000 })
    await startPods(['c', { node: 'n3' }])
    const flow = await NumberedPackets.between(lab, 'b', 'c', 5)
    expect(await flow.lost()).toBe(0)
    await removePods('b', 'c')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })

  test('is deleted and joins again', async () => {
    await kubectl(['delete', 'node', 'n3'])
    await endProgram('n3-kubelet', 'SIGKILL')
    await startNodeProgram('n3', 'kubelet')
    await expect.poll(() => kubectl(['get', 'nodes', '-o', 'name']), { timeout: 60_000 }).toContain('node/n3')
    await waitForReadyKubernetesNodes()
    await startPods(['c', { node: 'n3' }])
    await removePods('c')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })
})

test('a namespace goes with its pods and claims, and nothing of them stays', async () => {
  const before = await settledClusterTraces(lab)
  const namespace = 'short'
  await kubectl(['create', 'namespace', namespace])
  await kubectl(['-n', namespace, 'create', 'serviceaccount', 'default']).catch(() => {})
  const names = Array.from({ length: 6 }, (_, index) => `p${index}`)
  const withClaim = names.slice(3)
  await applyObjects(withClaim.map((name) => claim(name, namespace)))
  await startPods(...names.map((name): [string, PodPlace] => [name, { namespace, hasClaim: withClaim.includes(name) }]))
  const objects = (await takeClusterTraces(lab)).objects!
  const ofKind = (kind: string): number => objects.filter((name) => name.startsWith(`${kind}/`)).length
  expect([ofKind('endpoint.carbonado.io'), ofKind('volumeattachment.carbonado.io')]).toEqual([6, 3])
  await kubectl(['delete', 'namespace', namespace, '--timeout=120s'], { deadline: 125_000 })
  await expect.poll(() => takeClusterTraces(lab), { timeout: 120_000, interval: 1_000 }).toEqual(before)
})

test(
  'a hundred pods come and go all the time, and everything ends where it began',
  async () => {
    const before = await settledClusterTraces(lab)
    const random = seededRandom()
    console.log(`churn of ${churn} s: CARBONADO_SEED=${random.seed}`)
    const end = Date.now() + churn * 1000
    const name = (round: number, index: number): string => `churn-${round}-${index}`
    for (let round = 0; Date.now() < end; round += 1) {
      const place = (index: number): PodPlace => ({ app: 'churn', hasVolume: index % 8 === 0 })
      await applyObjects(Array.from({ length: 100 }, (_, index) => pod(name(round, index), place(index))))
      await sleep(random.below(16_000)) // some are not even started when they are deleted
      await kubectl(['delete', 'pod', '-l', 'app=churn', '--wait=true', '--timeout=240s'], { deadline: 245_000 })
    }
    await expect.poll(() => takeClusterTraces(lab), { timeout: 120_000, interval: 1_000 }).toEqual(before)
  },
  Math.max(600_000, churn * 2_000),
)
