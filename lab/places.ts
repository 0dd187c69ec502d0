import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InvalidInput } from '../src/base/index.ts'

/** What the prefixes of all labs begin with. */
export const commonPrefix = 'cbl'

/**
 * Several labs may be on one machine, told apart by $CARBONADO_LAB: tests use one of their own and leave alone the one
 * that somebody works with. Without it, it is the lab that `dctl` finds by itself.
 */
const labName = checkedLabName(process.env.CARBONADO_LAB ?? '')

/** Everything the lab keeps, readable by root only. */
export const labDirectory = `/run/carbonado-lab${labName}`

/** The drives of the nodes: on a disk, because the lab's directory may be in memory. */
export const driveDirectory = `/var/tmp/carbonado-lab${labName}`

/** Prefix of every name of the lab that other tools on the host can see: namespaces, cgroups. */
export const labPrefix = `${commonPrefix}${labName}`

/** Folder in which iproute2 looks for network namespaces. */
export const netnsFolder = '/run/netns'

/** Where things are below the lab's directory, on the host. */
export const places = {
  state: join(labDirectory, 'lab.json'),
  dctlConfig: join(labDirectory, 'dctl.json'),
  logs: join(labDirectory, 'logs'),
  certificates: join(labDirectory, 'certificates'),
  control: join(labDirectory, 'control'),
  controlSocket: join(labDirectory, 'control', 'control.sock'),
  containers: join(labDirectory, 'containers'),
  machines: join(labDirectory, 'machines'),
  /** What stands for the disk of a node: its /etc, /opt and /var/lib; survives a power failure. */
  disk: (node: string) => join(labDirectory, 'disks', node),
  drives: driveDirectory,
  /** Sparse file that is the drive of a node. */
  driveImage: (node: string) => join(driveDirectory, `${node}.img`),
  /** Where the drive of a node that has a speed of its own is mounted. */
  pacedDrive: (node: string) => join(labDirectory, 'drives', node),
  /** Network namespace of the top-of-rack switch. */
  switchNetns: join(netnsFolder, `${labPrefix}-switch`),
  /** Network namespace of a host outside the cluster. */
  hostNetns: (host: string) => join(netnsFolder, `${labPrefix}-host-${host}`),
} as const

/** Where things are inside a node, as its agent and its container runtime see them. */
export const nodePlaces = {
  agentConfiguration: '/etc/carbonado/agent.json',
  agentState: '/var/lib/carbonado/agent',
  cniSocket: '/run/carbonado/cni.sock',
  csiSocket: '/run/carbonado/csi.sock',
  cniConfiguration: '/etc/cni/net.d/10-carbonado.conflist',
  cniPlugins: '/opt/cni/bin',
  bpffs: '/sys/fs/bpf/carbonado',
  drive: '/run/carbonado/drives/drive0',
  netns: '/run/netns',
  bundles: '/run/containers',
  containerRoot: '/run/container-root',
  runcState: '/run/runc',
} as const

/** Where nodes mount their pools, each in a folder of its name: loop devices are the machine's, so no path is used twice. */
export const poolsFolder = `/run/carbonado/pools/${labPrefix}`

/** Where a node mounts its pools. */
export function nodePools(node: string): string {
  return `${poolsFolder}/${node}`
}

/** Folder of the checkout or installation that this file belongs to: the one with package.json. */
export const projectRoot = findProjectRoot(fileURLToPath(new URL('.', import.meta.url)))

/** Begins with a dot, so that the names of one lab never begin with the prefix of another. */
function checkedLabName(name: string): string {
  if (name === '') return ''
  if (/^[a-z0-9]{1,12}$/.test(name)) return `.${name}`
  throw new InvalidInput(`CARBONADO_LAB is "${name}"; it must be 1 to 12 small letters or digits`)
}

function findProjectRoot(from: string): string {
  let folder = from
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = join(folder, '..')
    if (parent === folder) return from
    folder = parent
  }
  return folder
}

/** What `make build` makes and the lab uses. */
export const artefacts = {
  accessPort: join(projectRoot, 'build', 'bpf', 'access-port.o'),
  programs: join(projectRoot, 'build', 'bpf'),
  cniPlugin: join(projectRoot, 'build', 'cni', 'carbonado-cni'),
  pacedDrive: join(projectRoot, 'build', 'lab', 'paced-drive'),
  bootMachine: join(projectRoot, 'lab', 'boot-machine.sh'),
} as const
