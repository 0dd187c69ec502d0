import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { exec } from '../../src/base/index.ts'
import { authorityFile } from '../certificates.ts'
import { cgroupHierarchies } from '../cgroups.ts'
import { startProgram } from '../machines.ts'
import { labPrefix, places } from '../places.ts'
import { insideMachine, isRunning, waitFor } from '../processes.ts'
import { endProgram, nodeAddress } from '../programs.ts'
import { machinePid, programStates } from '../state.ts'
import { certificateOf } from './credentials.ts'
import { clusterNetwork, kubernetesPlaces, programs } from './places.ts'
import { shareImages } from './shared-images.ts'

/** The programs of a node, in the order in which they start. */
export const nodePrograms = ['containerd', 'kubelet', 'kube-proxy'] as const
export type NodeProgram = (typeof nodePrograms)[number]

const socket = '/run/containerd/containerd.sock'

/** Writes onto a node's disk what kubelet, containerd and kube-proxy are told. */
export function configureKubernetesNode(node: string): void {
  const disk = places.disk(node)
  for (const folder of ['kubelet', 'containerd', 'log/pods', 'log/containers']) mkdirSync(join(disk, folder), { recursive: true }) // prettier-ignore
  const folder = join(disk, 'etc', 'kubernetes')
  mkdirSync(folder, { recursive: true })
  mkdirSync(join(disk, 'etc', 'containerd'), { recursive: true })
  mkdirSync(join(disk, 'opt', 'cni', 'bin'), { recursive: true })
  // containerd wants `loopback` in any pod; `portmap` is for those with a hostPort
  for (const plugin of ['loopback', 'portmap'])
    copyFileSync(`/usr/lib/cni/${plugin}`, join(disk, 'opt/cni/bin', plugin))
  writeFileSync(join(disk, 'etc', 'containerd', 'config.toml'), containerdConfiguration)
  writeFileSync(join(folder, 'resolv.conf'), `nameserver ${clusterNetwork.dnsService}\n`)
  writeFileSync(join(folder, 'kubelet.yaml'), stringify(kubeletConfiguration(node)))
  writeFileSync(join(folder, 'proxy.yaml'), stringify(proxyConfiguration(node, nodeAddress(node))))
}

/** Starts new nodes. Images take long to load: the others get what they have become on the first. */
export async function startKubernetesNodes([first, ...others]: string[]): Promise<void> {
  if (first === undefined) return
  if (others.length > 0) {
    await startContainerd(first)
    await endProgram(`${first}-containerd`, 'SIGTERM') // its databases are whole then
    await Promise.all(others.map((node) => shareImages(first, node)))
  }
  await Promise.all([first, ...others].map((node) => startKubernetesNode(node)))
}

/** Starts what does not run on a node, and loads the images that it does not have. */
export async function startKubernetesNode(node: string): Promise<void> {
  makeKubeletCgroups(node)
  await startContainerd(node)
  await Promise.all([startNodeProgram(node, 'kubelet'), startNodeProgram(node, 'kube-proxy')])
}

/** Starts containerd on a node unless it runs, and loads the images that it does not have. */
async function startContainerd(node: string): Promise<void> {
  await startNodeProgram(node, 'containerd')
  await waitFor(
    `containerd on ${node}`,
    () => onNode(node, ['ctr', '--connect-timeout', '1s', 'version']).then(() => true, () => false),
    { deadline: 90_000, interval: 50 },
  ) // prettier-ignore
  await loadImages(node)
}

/** Starts one program of a node unless it runs. */
export async function startNodeProgram(node: string, name: NodeProgram): Promise<void> {
  const key = `${node}-${name}`
  const running = programStates.get(key)
  if (running && isRunning(running)) return
  const command = ['env', `PATH=${nodePath}`, ...commands[name](node)]
  programStates.set(key, await startProgram(machinePid(node), node, key, command))
}

/** Imports the images of build/images that containerd does not have yet; there is no registry. */
async function loadImages(node: string): Promise<void> {
  const { stdout } = await onNode(node, ['ctr', '-n', 'k8s.io', 'images', 'list', '-q'])
  const present = new Set(stdout.split('\n'))
  for (const file of readdirSync(kubernetesPlaces.images).filter((name) => name.endsWith('.tar'))) {
    if (present.has(`docker.io/library/${file.slice(0, -'.tar'.length)}:local`)) continue
    await onNode(node, ['ctr', '-n', 'k8s.io', 'images', 'import', join(kubernetesPlaces.images, file)])
  }
}

/** Imports an image unless containerd has one of that reference. */
export async function loadImage(node: string, file: string, reference: string): Promise<void> {
  const { stdout } = await onNode(node, ['ctr', '-n', 'k8s.io', 'images', 'list', '-q', `name==${reference}`])
  if (stdout.trim() === '') await onNode(node, ['ctr', '-n', 'k8s.io', 'images', 'import', file])
}

/** Gives an image that a node has a further name. */
export async function tagImage(node: string, reference: string, alias: string): Promise<void> {
  await onNode(node, ['ctr', '-n', 'k8s.io', 'images', 'tag', '--force', reference, alias])
}

const nodePath = [programs.containerd, programs.conntrack, '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join(':') // prettier-ignore

function onNode(node: string, command: string[]): ReturnType<typeof exec> {
  return exec(insideMachine(machinePid(node), ['env', `PATH=${nodePath}`, ...command]), { deadline: 300_000 })
}

const commands: Record<NodeProgram, (node: string) => string[]> = {
  containerd: () => ['containerd'],
  kubelet: (node) => [
    programs.kubernetes('kubelet'), '--config=/etc/kubernetes/kubelet.yaml',
    '--kubeconfig=/etc/kubernetes/kubeconfig', `--hostname-override=${node}`, `--node-ip=${nodeAddress(node)}`, '--v=2',
  ], // prettier-ignore
  'kube-proxy': () => [programs.kubernetes('kube-proxy'), '--config=/etc/kubernetes/proxy.yaml'],
}

/** Copies the certificates of a node onto its disk: the host's /run is not seen from inside. */
export function copyCredentials(node: string): void {
  const folder = join(places.disk(node), 'etc', 'kubernetes')
  mkdirSync(folder, { recursive: true })
  const server = certificateOf(`${node}-server`)
  const copies: Record<string, string> = {
    'ca.crt': authorityFile,
    'server.crt': server.certificateFile,
    'server.key': server.keyFile,
    kubeconfig: kubernetesPlaces.kubeconfig(node),
    'proxy-kubeconfig': kubernetesPlaces.kubeconfig('proxy'),
  }
  for (const [name, file] of Object.entries(copies)) writeFileSync(join(folder, name), readFileSync(file), { mode: 0o600 }) // prettier-ignore
}

/** Kubelet's own cgroup must exist in every hierarchy; in version 1 a cpuset without processors takes no process. */
function makeKubeletCgroups(node: string): void {
  for (const { path, version } of cgroupHierarchies()) {
    const parts = [labPrefix, node, 'kubelet']
    parts.forEach((_part, index) => {
      const folder = join(path, ...parts.slice(0, index + 1))
      mkdirSync(folder, { recursive: true })
      if (version === 1) inheritCpuset(folder)
    })
  }
}

function inheritCpuset(folder: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    try {
      const inherited = readFileSync(join(folder, '..', file), 'utf8').trim()
      if (readFileSync(join(folder, file), 'utf8').trim() === '') writeFileSync(join(folder, file), inherited)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error // the hierarchy has no cpuset
    }
  }
}

function kubeletConfiguration(node: string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: nodeAddress(node),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: '/etc/kubernetes/ca.crt' },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: '/etc/kubernetes/server.crt',
    tlsPrivateKeyFile: '/etc/kubernetes/server.key',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${labPrefix}/${node}/kubelet`,
    failCgroupV1: false,
    failSwapOn: false,
    containerRuntimeEndpoint: `unix://${socket}`,
    clusterDNS: [clusterNetwork.dnsService],
    clusterDomain: 'cluster.local',
    resolvConf: '/etc/kubernetes/resolv.conf',
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    enforceNodeAllocatable: ['pods'],
    nodeStatusUpdateFrequency: '4s',
    maxPods: 250,
    serializeImagePulls: false,
  }
}

/** What kube-proxy of a machine is told; `kubeconfig` as the machine sees it. */
export function proxyConfiguration(
  machine: string,
  bindAddress: string,
  kubeconfig = '/etc/kubernetes/proxy-kubeconfig',
): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig },
    mode: 'nftables',
    clusterCIDR: clusterNetwork.podCidr,
    hostnameOverride: machine,
    bindAddress,
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    // limits of the whole machine, which are not the lab's to change
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  }
}

/** For containerd 1.6, as Debian 12 has it. The score of a container's processes may not be lowered in here. */
const containerdConfiguration = `version = 2
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = 'docker.io/library/pause:local'
  restrict_oom_score_adj = true
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
  SystemdCgroup = false
`
