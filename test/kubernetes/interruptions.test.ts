import './own-lab.ts'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { Lab } from '../../lab/index.ts'
import {
  applyObjects,
  helm,
  installCarbonado,
  kubectl,
  startControlPlaneProgram,
  startNodeProgram,
  waitForApiServer,
  waitForReadyKubernetesNodes,
} from '../../lab/kubernetes/index.ts'
import { endProgram } from '../../lab/programs.ts'
import { projectRoot } from '../../lab/places.ts'
import {
  bringUpCluster,
  endpointNames,
  identityOf,
  removeAllPods,
  removePods,
  startPods,
} from '../support/cluster-pods.ts'
import { settledClusterTraces, takeClusterTraces } from '../support/cluster-traces.ts'
import { NumberedPackets, useVolume } from '../support/pod-traffic.ts'

/** Seconds without API server. */
const outage = 120

let lab: Lab

beforeAll(async () => {
  lab = await bringUpCluster()
})
afterAll(() => lab?.down())
afterEach(removeAllPods)

const addressOf = (name: string): Promise<string> => kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.podIP}'])

const expectUse = ({ reads, writes }: { reads: number; writes: number }): void =>
  expect(Math.min(reads, writes)).toBeGreaterThan(100)

describe('while two pods talk', () => {
  test('kubelet of one node and containerd of the other are killed and started again: nothing is lost, nothing is left', async () => {
    const traces = await settledClusterTraces(lab)
    const withVolume = { node: 'n1', hasVolume: true }
    await startPods(['a', withVolume], ['b', { node: 'n2' }], ['deleted', withVolume], ['forced', withVolume])
    const before = [await identityOf('a'), await identityOf('b')]
    const [flow, use] = [await NumberedPackets.between(lab, 'a', 'b', 20), useVolume(lab, 'a', 20)]
    use.catch(() => {}) // told below
    await Promise.all([endProgram('n1-kubelet', 'SIGKILL'), endProgram('n2-containerd', 'SIGKILL')])
    await kubectl(['delete', 'pod', 'deleted', '--wait=false'])
    await kubectl(['delete', 'pod', 'forced', '--force', '--grace-period=0'])
    await sleep(2_000)
    await Promise.all([startNodeProgram('n1', 'kubelet'), startNodeProgram('n2', 'containerd')])
    await startPods(['c', { node: 'n1' }], ['d', { node: 'n2' }])
    expect(await flow.lost()).toBe(0)
    expectUse(await use)
    expect([await identityOf('a'), await identityOf('b')]).toEqual(before)
    await removePods('a', 'b', 'c', 'd')
    await expect.poll(() => takeClusterTraces(lab), { timeout: 120_000, interval: 1_000 }).toEqual(traces)
  })

  test('agent and control are rolled by helm upgrade: no packet is lost, no read or write fails', async () => {
    await startPods(['a', { node: 'n1', hasVolume: true }], ['b', { node: 'n2' }])
    const [flow, use] = [await NumberedPackets.between(lab, 'a', 'b', 45), useVolume(lab, 'a', 45)]
    use.catch(() => {}) // told below
    const generation = (): Promise<string> =>
      kubectl(['-n', 'carbonado-system', 'get', 'pods', '-o', 'jsonpath={.items[*].metadata.uid}'])
    const old = (await generation()).split(' ')
    await installCarbonado({ 'agent.uplink.rate': '100G' })
    const left = async (): Promise<string[]> => (await generation()).split(' ').filter((uid) => old.includes(uid))
    await expect.poll(left, { timeout: 60_000 }).toEqual([]) // helm does not wait for the last agent
    await startPods(['c', { node: 'n1' }])
    expect(await flow.lost()).toBe(0)
    expectUse(await use)
    await removePods('a', 'b', 'c')
  })

  test('the API server is away for two minutes, then the chart is removed and installed again: nothing is lost', async () => {
    await startPods(['a', { node: 'n1' }], ['b', { node: 'n2' }], ['gone', { node: 'n1' }])
    const before = [await identityOf('a'), await identityOf('b')]
    const objects = await endpointNames()
    const quiet = await NumberedPackets.between(lab, 'a', 'b', outage - 10)
    await endProgram('kube-apiserver', 'SIGKILL')
    await sleep(outage * 1000)
    expect(await quiet.lost()).toBe(0)
    await startControlPlaneProgram('kube-apiserver')
    await waitForApiServer()
    await waitForReadyKubernetesNodes()
    expect(await endpointNames()).toBe(objects)
    await startPods(['later', { node: 'n2' }])
    await removePods('gone', 'later')
    expect([await identityOf('a'), await identityOf('b')]).toEqual(before)

    await expect.poll(endpointNames, { timeout: 60_000 }).not.toContain('later')
    const flow = await NumberedPackets.between(lab, 'a', 'b', 60)
    const kept = await endpointNames()
    await helm(['uninstall', 'carbonado', '--wait', '--timeout', '60s'])
    await kubectl(['-n', 'carbonado-system', 'wait', 'pod', '--all', '--for=delete', '--timeout=120s'], {
      deadline: 125_000,
    })
    expect(await endpointNames()).toBe(kept)
    expect(await kubectl(['get', 'networks', '-o', 'name'])).toContain('blue')
    await installCarbonado()
    expect(await flow.lost()).toBe(0)
    await startPods(['fresh', { node: 'n1' }])
    expect(new Set([await addressOf('a'), await addressOf('b'), await addressOf('fresh')]).size).toBe(3)
    await removePods('a', 'b', 'fresh')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })

  test('the kinds are changed with objects in place', async () => {
    await startPods(['a', { node: 'n1' }], ['b', { node: 'n2' }])
    const objects = await endpointNames()
    const flow = await NumberedPackets.between(lab, 'a', 'b', 15)
    const folder = join(projectRoot, 'deploy', 'chart', 'templates', 'crds')
    const column = { name: 'New', type: 'string', jsonPath: '.metadata.name' }
    for (const file of readdirSync(folder)) {
      const definition = parse(readFileSync(join(folder, file), 'utf8')) as {
        spec: { versions: { additionalPrinterColumns?: object[] }[] }
      }
      definition.spec.versions[0]!.additionalPrinterColumns ??= []
      definition.spec.versions[0]!.additionalPrinterColumns.push(column)
      await applyObjects([definition])
    }
    await expect.poll(() => kubectl(['get', 'endpoints.carbonado.io']), { timeout: 20_000 }).toMatch(/\bNEW\b/)
    expect(await endpointNames()).toBe(objects)
    await startPods(['c', { node: 'n1' }])
    expect(await flow.lost()).toBe(0)
    await removePods('a', 'b', 'c')
    await expect.poll(endpointNames, { timeout: 30_000 }).toBe('')
  })
})
