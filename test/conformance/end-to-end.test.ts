import './own-lab.ts'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  applyObjects,
  installCarbonado,
  installDns,
  installEndToEndSuite,
  kubectl,
  makeApiServerGateway,
  runEndToEndCases,
  type EndToEndCases,
} from '../../lab/kubernetes/index.ts'
import { formatDrives } from '../support/cluster-drives.ts'

const nodes = ['n1', 'n2', 'n3']
/** Milliseconds for the cases of one test; nine minutes for the longest on a busy machine of four processors. */
const deadline = 3_600_000

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, rate: null, driveSize: 64 * 2 ** 30 })
  await installCarbonado({ 'agent.hostPorts': true })
  const subnets = [{ cidr: '10.30.0.0/24', gateway: '10.30.0.1' }]
  const spec = { subnets, vlan: 100, isDefault: true }
  await applyObjects([{ apiVersion: 'carbonado.io/v1alpha1', kind: 'Network', metadata: { name: 'blue' }, spec }])
  await makeApiServerGateway(100, '10.30.0.1/24')
  await Promise.all([installDns(nodes), installEndToEndSuite(nodes), formatDrives(nodes)])
})
afterAll(() => lab?.down())

/** Names of cases that did not pass, as ginkgo sums them up. */
function failures(output: string): string[] {
  const lines = output.matchAll(/^ *\[(?:FAIL|TIMEDOUT|INTERRUPTED|PANICKED)\] (.*)$/gm)
  return [...new Set([...lines].map((match) => match[1]!))]
}

/** Runs cases; all that run must pass, and so many must have run. */
async function expectToPass(cases: EndToEndCases, atLeast: number): Promise<void> {
  const { stdout, stderr } = await runEndToEndCases(cases)
  expect(failures(stdout), stderr.slice(-2000)).toEqual([])
  expect(Number(/(\d+) Passed/.exec(stdout)?.[1])).toBeGreaterThanOrEqual(atLeast)
}

// docs/conformance.md lists what is run, and why the rest is not

describe("Kubernetes' own conformance cases of sig-network", () => {
  test('pass', { timeout: 2 * deadline }, async () => {
    const focus = ['\\[sig-network\\].*\\[Conformance\\]']
    await expectToPass({ focus, skip: [], processes: 10, deadline }, 47)
  })
})

/** Cannot run on this cluster or with this driver. */
const notHere = ['Disruptive', 'ntfs', 'Inline-volume', 'Pre-provisioned PV', 'performance', 'any volume data source']
/** Changes claims that no pod uses, so that their class must not wait for one. */
const ofUnusedClaims = 'volume-modify-stress.*should modify'

describe("Kubernetes' own cases of external storage", () => {
  const provisioner = 'csi.carbonado.io'
  const metadata = { name: 'conformance' }
  const flags = [`-storage.testdriver=${join(import.meta.dirname, 'external-storage.yaml')}`]
  const classThat = (volumeBindingMode: 'Immediate' | 'WaitForFirstConsumer'): object => ({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata,
    provisioner,
    // XFS where a case does not say: it grows under use on every machine
    parameters: { 'csi.storage.k8s.io/fstype': 'xfs' },
    volumeBindingMode,
    allowVolumeExpansion: true,
  })

  beforeAll(() => {
    const parameters = { perfTier: 'conformance' }
    return applyObjects([
      { apiVersion: 'carbonado.io/v1alpha1', kind: 'PerfTier', metadata, spec: { storageIops: '100' } },
      { apiVersion: 'storage.k8s.io/v1', kind: 'VolumeAttributesClass', metadata, driverName: provisioner, parameters },
    ])
  })
  afterEach(() => kubectl(['delete', 'storageclass', metadata.name]))

  test('pass', { timeout: 2 * deadline }, async () => {
    await applyObjects([classThat('WaitForFirstConsumer')])
    const skip = [...notHere, ofUnusedClaims]
    await expectToPass({ focus: ['External.Storage'], skip, flags, processes: 8, deadline }, 115)
  })

  test('pass also where a claim does not wait for a pod', { timeout: 2 * deadline }, async () => {
    await applyObjects([classThat('Immediate')])
    const focus = [`External.Storage.*${ofUnusedClaims}`]
    await expectToPass({ focus, skip: notHere, flags, processes: 2, deadline }, 2)
  })
})
