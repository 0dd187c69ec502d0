import './own-lab.ts'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  applyObjects,
  installCarbonado,
  installDns,
  installEndToEndSuite,
  makeApiServerGateway,
  runEndToEndCases,
  type EndToEndCases,
} from '../../lab/kubernetes/index.ts'
import { formatDrives } from '../support/cluster-drives.ts'

const nodes = ['n1', 'n2', 'n3']

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
  test('pass', async () => {
    const focus = ['\\[sig-network\\].*\\[Conformance\\]']
    await expectToPass({ focus, skip: [], processes: 10, deadline: 560_000 }, 47)
  })
})

/** One or two of each group of cases of External Storage. */
const chosen = [
  'Dynamic PV (default fs)] capacity',
  'Dynamic PV (default fs)] fsgroupchangepolicy (OnRootMismatch)[LinuxOnly], pod created with an initial fsgroup, new pod',
  'Dynamic PV (default fs)] provisioning should provision correct filesystem size when restoring snapshot',
  'Dynamic PV (default fs)] provisioning should provision storage with mount options',
  'Dynamic PV (block volmode)] provisioning should provision storage with pvc data source',
  'Dynamic PV (block volmode)] provisioning should provision storage with snapshot data source',
  'Dynamic PV (default fs)] provisioning should mount multiple PV pointing to the same storage',
  'Dynamic PV (default fs)] read-write-once-pod',
  'Dynamic PV (default fs)] subPath should support existing directory',
  'Dynamic PV (default fs)] volume-modify [FeatureGate:VolumeAttributesClass] [Feature:VolumeAttributesClass] should modify volume with no VAC',
  'Dynamic PV (default fs)(allowExpansion)] volume-expand should resize volume when PVC is edited while pod',
  'Dynamic PV (block volmode)(allowExpansion)] volume-expand Verify if offline',
  'Dynamic PV (ext4)] volumes should store data',
  'Dynamic PV (delayed binding)] topology',
  'Dynamic PV (block volmode)] volumeMode should not mount / map unused',
  'Generic Ephemeral-volume (default fs) (late-binding)] ephemeral should create read/write',
  'Dynamic Snapshot (delete policy)] snapshottable',
]
/** Cannot run on this cluster or with this driver. */
const notHere = [
  ...['Disruptive', 'ntfs', 'Inline-volume', 'Pre-provisioned PV', 'performance', 'any volume data source'],
  'volume-modify-stress.*should modify', // of claims that no pod uses: needs a class that does not wait for one
]

describe("Kubernetes' own cases of external storage", () => {
  const isWhole = process.env.CARBONADO_STORAGE_CASES === 'all'
  const literally = (text: string): string => text.replaceAll(/[[\]().]/g, '\\$&')

  test('pass', { timeout: 3 * 3_600_000 }, async () => {
    const provisioner = 'csi.carbonado.io'
    const metadata = { name: 'conformance' }
    const parameters = { perfTier: 'conformance' }
    await applyObjects([
      { apiVersion: 'carbonado.io/v1alpha1', kind: 'PerfTier', metadata, spec: { storageIops: '100' } },
      { apiVersion: 'storage.k8s.io/v1', kind: 'VolumeAttributesClass', metadata, driverName: provisioner, parameters },
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata,
        provisioner,
        // XFS where a case does not say: it grows under use on every machine
        parameters: { 'csi.storage.k8s.io/fstype': 'xfs' },
        volumeBindingMode: 'WaitForFirstConsumer',
        allowVolumeExpansion: true,
      },
    ])
    const focus = isWhole ? ['External.Storage'] : chosen.map((each) => `External.Storage.*${literally(each)}`)
    const flags = [`-storage.testdriver=${join(import.meta.dirname, 'external-storage.yaml')}`]
    const skip = isWhole ? notHere : [...notHere, '\\[Slow\\]']
    const deadline = isWhole ? 10_000_000 : 560_000
    await expectToPass({ focus, skip, flags, processes: 8, deadline }, isWhole ? 115 : chosen.length)
  })
})
