import { join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { labDirectory, projectRoot } from '../places.ts'

/** Address ranges of the lab's cluster; those of Services never appear on a wire. */
export const clusterNetwork = {
  serviceCidr: '10.96.0.0/16',
  apiServerService: '10.96.0.1',
  dnsService: '10.96.0.10',
  podCidr: '10.244.0.0/16',
  nodeCidr: '10.77.0.0/24',
} as const

/** Port of the API server on the management address of control. */
export const apiServerPort = 6443

const goTools = join(projectRoot, 'build', 'go')
const debian = join(projectRoot, 'build', 'debian')

/** The programs that the cluster is made of. */
export const programs = {
  kubernetes: (name: string) => join(goTools, 'kubernetes', name),
  coredns: join(goTools, 'dns', 'coredns'),
  e2e: (name: string) => join(goTools, 'e2e', name),
  helm: join(goTools, 'sidecars', 'helm'),
  csiSidecars: [
    join(goTools, 'provisioner', 'csi-provisioner'),
    ...['csi-attacher', 'csi-resizer', 'csi-snapshotter', 'snapshot-controller'].map((name) =>
      join(goTools, 'sidecars', name),
    ),
  ],
  etcd: join(debian, 'etcd-server', 'usr', 'bin', 'etcd'),
  containerd: join(debian, 'containerd', 'usr', 'bin'),
  conntrack: join(debian, 'conntrack', 'usr', 'sbin'),
  busybox: join(debian, 'busybox-static', 'bin', 'busybox'),
} as const

/** Where the cluster keeps its things, on the host. */
export const kubernetesPlaces = {
  folder: join(labDirectory, 'kubernetes'),
  etcd: join(labDirectory, 'kubernetes', 'etcd'),
  kubeconfig: (user: string) => join(labDirectory, 'kubernetes', `${user}.conf`),
  images: join(projectRoot, 'build', 'images'),
  /** Of images that only some labs need. */
  furtherImages: join(projectRoot, 'build', 'images', 'further'),
  sysctls: join(labDirectory, 'kubernetes', 'sysctls.json'),
} as const

/** What kube-scheduler is told of Carbonado, once that is installed. */
export const schedulerFiles = {
  configuration: join(kubernetesPlaces.folder, 'scheduler.yaml'),
  authority: join(kubernetesPlaces.folder, 'scheduler-ca.crt'),
  certificate: join(kubernetesPlaces.folder, 'scheduler.crt'),
  key: join(kubernetesPlaces.folder, 'scheduler.key'),
} as const

/** Fetches and builds the programs unless the user's cache has them; takes minutes the first time. */
export async function installPrograms(): Promise<void> {
  const deadline = 30 * 60_000
  const packages = ['etcd-server', 'containerd', 'conntrack', 'busybox-static']
  await exec([join(projectRoot, 'scripts', 'debian-tools.sh'), ...packages], { deadline })
  await exec([join(projectRoot, 'scripts', 'go-tools.sh'), 'kubernetes', 'sidecars', 'provisioner'], { deadline }) // prettier-ignore
}
