import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { exec, ExecError, type ExecResult } from '../../src/base/index.ts'
import { debianRoot } from '../../deploy/image/build.ts'
import { projectRoot } from '../places.ts'
import { insideMachine } from '../processes.ts'
import { controlMachine } from '../programs.ts'
import { machinePid } from '../state.ts'
import { connectPort } from '../switch.ts'
import { imageReference, provideImage } from './images.ts'
import { tagImage } from './node.ts'
import { kubernetesPlaces, programs } from './places.ts'

/** What Kubernetes' own end-to-end cases run in their pods, by the name that they ask for. */
const agnhost = { version: '2.63.0', reference: 'registry.k8s.io/e2e-test-images/agnhost:2.63.0' }
/** What the images by other names do, that the same one or one of the lab does. */
const aliases: [of: string, alias: string][] = [
  [agnhost.reference, 'registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0'],
  [imageReference('pause'), 'registry.k8s.io/pause:3.10.2'],
  [imageReference('busybox'), 'registry.k8s.io/e2e-test-images/busybox:1.37.0-1'],
  [imageReference('busybox'), 'registry.k8s.io/e2e-test-images/nginx:1.15-4'], // asked for a shell only
]
/** The cases call these beside the program itself. */
const agnhostTools = ['bind9-dnsutils', 'ca-certificates', 'curl', 'iproute2', 'iputils-ping', 'netcat-openbsd']

/** Which cases to run: regular expressions of their names, as ginkgo takes them. */
export interface EndToEndCases {
  focus: string[]
  skip: string[]
  /** How many run at once. */
  processes: number
  /** Milliseconds for all of them. */
  deadline: number
  /** Further flags of the suite. */
  flags?: string[]
}

/** Builds Kubernetes' end-to-end suite unless it is there, and the image of its pods, which it loads on the nodes. */
export async function installEndToEndSuite(nodes: string[]): Promise<void> {
  await exec([join(projectRoot, 'scripts', 'go-tools.sh'), 'e2e'], { deadline: 30 * 60_000 })
  await provideImage(nodes, {
    name: `agnhost-${agnhost.version}`,
    reference: agnhost.reference,
    entrypoint: ['/agnhost'],
    arguments: ['pause'],
    async fill(root) {
      await fillFromDebian(root, agnhostTools)
      await copyFile(programs.e2e('agnhost'), join(root, 'agnhost'))
      const files = ['-keyout', join(root, 'localhost.key'), '-out', join(root, 'localhost.crt')]
      await exec(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-days', '3650', ...files]) // prettier-ignore
    },
  })
  await Promise.all(nodes.flatMap((node) => aliases.map(([image, alias]) => tagImage(node, image, alias))))
}

/**
 * Makes the machine of the API server the gateway of a VLAN, `address` with its prefix length: it has no agent, and cases
 * reach pods by way of it.
 */
export async function makeApiServerGateway(vlan: number, address: string): Promise<void> {
  const pid = machinePid(controlMachine)
  const [name, device] = [`control-v${vlan}`, `vlan${vlan}`]
  await connectPort({ name, netns: String(pid), macAddress: '02:cb:00:00:00:fe', rate: null, vlan, interface: device })
  const lines = [`link set ${device} mtu 1496 up`, `address add ${address} dev ${device}`]
  await exec(insideMachine(pid, ['ip', '-batch', '-']), { input: `${lines.join('\n')}\n` })
}

/** Makes a folder what a Debian with some packages is. */
export async function fillFromDebian(root: string, packages: string[]): Promise<void> {
  const base = await debianRoot(packages)
  await rm(root, { recursive: true })
  await exec(['cp', '-a', '--reflink=auto', base, root], { deadline: 120_000 })
}

/** Runs cases against the cluster from the machine of control. Returns what was printed, failed or not. */
export async function runEndToEndCases({ focus, skip, processes, deadline, flags = [] }: EndToEndCases): Promise<ExecResult & { isPassed: boolean }> {
  const folder = join(kubernetesPlaces.folder, 'e2e')
  const suite = join(folder, 'e2e.test') // a name by which ginkgo knows that it is compiled
  mkdirSync(folder, { recursive: true })
  if (!existsSync(suite)) symlinkSync(programs.e2e('e2e'), suite)
  const selection = [...focus.map((each) => `--focus=${each}`), ...skip.map((each) => `--skip=${each}`)]
  const cluster = [`--kubeconfig=${kubernetesPlaces.kubeconfig('admin')}`, '--provider=skeleton', '--num-nodes=3', `--kubectl-path=${programs.kubernetes('kubectl')}`]
  const command = [programs.e2e('ginkgo'), `--procs=${processes}`, '--no-color', '--flake-attempts=1', ...selection, suite, '--', ...cluster, ...flags]
  const environment = ['env', '-C', folder, 'HOME=/root']
  try {
    const result = await exec(insideMachine(machinePid(controlMachine), [...environment, ...command]), { deadline })
    return { ...result, isPassed: true }
  } catch (error) {
    if (!(error instanceof ExecError)) throw error
    return { stdout: error.stdout, stderr: error.stderr, isPassed: false } as ExecResult & { isPassed: boolean }
  }
} // prettier-ignore
