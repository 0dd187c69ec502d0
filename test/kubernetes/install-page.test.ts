import './own-lab.ts'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { exec } from '../../src/base/index.ts'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  carbonadoNamespace,
  imageReference,
  kubernetesPlaces,
  labSettings,
  programs,
  schedulerFiles,
  startControlPlaneProgram,
  startServiceProxy,
  tagImage,
  waitForReadyKubernetesNodes,
} from '../../lab/kubernetes/index.ts'
import { projectRoot } from '../../lab/places.ts'
import { insideMachine } from '../../lab/processes.ts'
import { controlMachine, endProgram, nodeAddress } from '../../lab/programs.ts'
import { machinePid } from '../../lab/state.ts'
import { cableInterface } from '../../lab/switch.ts'
import { Document, type Replacements } from '../support/document.ts'

// The page is followed from its first step to its last, as somebody with a cluster would: the tests need each other.

const page = new Document(join(projectRoot, 'docs', 'install-on-kubernetes.md'))
const claims = new Document(join(projectRoot, 'docs', 'csi.md'))
/** Where the administrator works, and keeps what the page says to keep on the machine of kube-scheduler. */
const desk = join(kubernetesPlaces.folder, 'desk')

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, bare: true, rate: 1e9 })
  mkdirSync(desk)
})
afterAll(() => lab?.down())

/** Runs commands as an administrator on the machine of the control plane, in the checkout unless told. */
async function administer(script: string, { input = '', folder = projectRoot, deadline = 180_000 } = {}): Promise<string> {
  const tools = [dirname(programs.kubernetes('kubectl')), dirname(programs.helm), join(projectRoot, 'bin')]
  const path = [...tools, '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join(':')
  const environment = [`PATH=${path}`, `KUBECONFIG=${kubernetesPlaces.kubeconfig('admin')}`, `HOME=${desk}`]
  const command = ['env', `--chdir=${folder}`, ...environment, 'sh', '-euc', script]
  return (await exec(insideMachine(machinePid(controlMachine), command), { input, deadline })).stdout
} // prettier-ignore

/** Applies an object, or says why the API server refuses it. */
const apply = (text: string): Promise<string> => administer('kubectl apply -f -', { input: text })

const busybox = [{ name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['sleep', 'infinity'] }] // prettier-ignore

/** A pod with what the page shows of one. */
function podOf(name: string, shown: string, spec: object = {}): string {
  const { metadata } = parse(shown) as { metadata: object }
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name },
    spec: { containers: busybox, terminationGracePeriodSeconds: 0, ...spec },
  })
}

/** The chart's installation as the page has it, with what is different on the lab. */
function installation(): string {
  const replacements: Replacements = {
    '--set image.reference=REGISTRY/carbonado:0.1.0 ': '', // loaded on the nodes
    eth1: cableInterface,
    '25G': '1G',
  }
  const further = Object.entries(labSettings()).map(([name, value]) => `--set '${name}=${value}'`)
  return `${page.block('helm install carbonado', replacements).trimEnd()} ${further.join(' ')}`
}

test('the image is built, and loaded on every node', async () => {
  await exec(['sh', '-euc', page.command('make image')], { cwd: projectRoot, deadline: 300_000 })
  const load = page.command('ctr -n k8s.io images import carbonado.tar', {
    'carbonado.tar': join(projectRoot, 'build', 'images', 'carbonado.tar'),
  })
  for (const node of lab.nodes) {
    const ctr = `PATH=${programs.containerd}:$PATH; ctr -n k8s.io images rm ${imageReference('carbonado')}; ${load}`
    expect((await lab.nodeExec(node, ['sh', '-euc', ctr], { deadline: 120_000 })).stdout).toContain('carbonado:local')
  }
}, 600_000)

test('the chart is installed, and nodes are Ready when their agents are', async () => {
  await administer(installation())
  await waitForReadyKubernetesNodes()
  await expect
    .poll(() => administer(page.command('kubectl -n carbonado-system get pods')), { timeout: 60_000 })
    .toSatisfy((text: string) => {
      const pods = text.trim().split('\n').slice(1)
      return pods.length === 2 + 1 + 3 && pods.every((line) => line.includes(' Running '))
    })
})

test('a network is made, mistakes in it are refused, and a pod gets an address of it', async () => {
  const network = page.block('kind: Network')
  await expect(apply(network.replace('vlan: 100', 'vlan: 5000'))).rejects.toThrow(/vlan/)
  expect(await apply(network)).toContain('network.carbonado.io/blue created')
  const shown = page.block('carbonado.io/endpoint0')
  await expect(apply(podOf('web', shown.replace('perfTier', 'tier')))).rejects.toThrow(/endpoint0/)
  await apply(podOf('web', shown))
  await administer('kubectl wait pod/web --for=condition=Ready --timeout=120s')
  expect(await administer(page.command('kubectl get endpoints.carbonado.io'))).toMatch(/10\.30\.0\.1\d /)
})

/** A line without what its columns are set apart by. */
const inWords = (line: string): string => line.trim().replaceAll(/\s+/g, ' ')

test('nodes show what can be promised on them', async () => {
  const [command, ...shown] = page.block('$ kubectl describe node n1').trimEnd().split('\n')
  const said = async (): Promise<string[]> =>
    (await administer(command!.replace('$ ', '').replace('n1', 'n2'))).split('\n').map(inWords)
  await expect.poll(said, { timeout: 30_000 }).toEqual(expect.arrayContaining(shown.map(inWords)))
})

test('kube-scheduler asks control, with the certificates that the chart made', async () => {
  await startServiceProxy(lab.nodes[0]!)
  const folder = join(desk, 'carbonado')
  const address = await administer(page.block('get service carbonado-control', { '/etc/kubernetes/carbonado': folder }))
  const configuration = page.block('kind: KubeSchedulerConfiguration', {
    'CLUSTER-IP': address.trim(),
    '/etc/kubernetes/carbonado': folder,
    '/etc/kubernetes/scheduler.conf': kubernetesPlaces.kubeconfig('scheduler'),
  })
  writeFileSync(schedulerFiles.configuration, configuration)
  await endProgram('kube-scheduler', 'SIGTERM')
  await startControlPlaneProgram('kube-scheduler')
  await administer('dctl network create tiny -s 10.31.0.0/24 --start 10.31.0.10 --end 10.31.0.10 -g 10.31.0.1 -v 101')
  const tiny = '{ metadata: { annotations: { carbonado.io/endpoint0: \'{"network":"tiny"}\' } } }'
  await apply(podOf('first', tiny))
  await administer('kubectl wait pod/first --for=condition=Ready --timeout=120s')
  await apply(podOf('second', tiny))
  // only control knows that there is no address left
  await expect
    .poll(() => administer('kubectl describe pod second'), { timeout: 60_000 })
    .toMatch(/FailedScheduling.*address/)
  await administer('kubectl delete pod first second && dctl network delete -y tiny')
})

test('a drive becomes a pool, and a claim a volume on it', async () => {
  await expect
    .poll(() => administer(page.command('dctl drive list')), { timeout: 60_000 })
    .toMatch(/^n1\.drive0 .*Blank/m)
  await administer(page.command('dctl drive format n1.drive0', { format: 'format -y' }))
  await expect.poll(() => administer('dctl drive list'), { timeout: 60_000 }).toMatch(/^n1\.drive0 .*Ready/m)
  await apply(claims.block('kind: PersistentVolumeClaim', { 'carbonado-medium ': 'carbonado-best-effort ', '10Gi': '1Gi' })) // prettier-ignore
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }]
  const containers = busybox.map((container) => ({
    ...container,
    volumeMounts: [{ name: 'data', mountPath: '/data' }],
  }))
  const withoutFloor = page.block('carbonado.io/endpoint0', { ',"perfTier":"high"': '' }) // which n1 may not have left
  await apply(podOf('database', withoutFloor, { containers, volumes }))
  await administer('kubectl wait pod/database --for=condition=Ready --timeout=120s')
  await administer('kubectl exec database -- sh -c "echo kept > /data/file"')
}, 300_000)

test('Ann sees what Carbonado has, and changes nothing', async () => {
  await administer(page.block('create clusterrolebinding ann'))
  const may = (verb: string, what: string): Promise<string> =>
    administer(`kubectl auth can-i ${verb} ${what} --as=ann || true`)
  const mayList = async (): Promise<string> => (await may('list', 'endpoints.carbonado.io')).trim()
  await expect.poll(mayList, { timeout: 120_000 }).toBe('yes')
  expect((await may('delete', 'endpoints.carbonado.io')).trim()).toBe('no')
})

test('agents give their metrics to who may read those of the cluster', async () => {
  await administer('kubectl create namespace monitoring && kubectl -n monitoring create serviceaccount prometheus')
  const look = page.block('create clusterrole metrics-reader', { 'NODE-ADDRESS': nodeAddress('n1') })
  expect(await administer(look, { folder: desk })).toMatch(/^carbonado_\w+/m)
})

test('it is upgraded while pods run', async () => {
  const image = 'docker.io/library/carbonado:new'
  for (const node of lab.nodes) await tagImage(node, imageReference('carbonado'), image)
  await administer(`${page.block('helm upgrade carbonado').trimEnd()} --set image.reference=${image}`)
  const running = `kubectl -n ${carbonadoNamespace} get pods -o jsonpath='{.items[*].spec.containers[*].image}'`
  // helm waits for the new ones, not until the old ones have ended
  await expect
    .poll(() => administer(running), { timeout: 120_000, interval: 500 })
    .not.toContain(imageReference('carbonado'))
  expect(await administer('kubectl exec database -- cat /data/file')).toBe('kept\n')
})

test('it is removed and installed again: pods run on, and all objects are there', async () => {
  const endpoints = 'kubectl get endpoints.carbonado.io -o name'
  const before = await administer(endpoints)
  await administer(page.block('helm uninstall carbonado'))
  expect(await administer('kubectl exec database -- cat /data/file')).toBe('kept\n')
  await administer(installation())
  await waitForReadyKubernetesNodes()
  expect(await administer(endpoints)).toBe(before)
  expect(await administer('kubectl exec database -- cat /data/file')).toBe('kept\n')
}, 400_000)
