import { containerCgroup } from './cgroups.ts'
import { nodePlaces } from './places.ts'

/** What the first process of a container is and may do. */
export interface ContainerProcess {
  name: string
  node: string
  id: string
  podUid: string
  /** Mounts and devices of its volumes. */
  volumes: { mounts: object[]; devices: object[] }
  command: string[]
  capabilities: string[]
  environment: Record<string, string>
}

/** What Docker gives a container less everything that touches the network below its sockets. */
export const defaultCapabilities = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * The OCI configuration of a container whose root is the host's, read-only. No cgroup mount, resource limits or
 * oomScoreAdj: they need privileges that a virtual machine's root may not have.
 */
export function ociConfiguration(container: ContainerProcess): object {
  const granted = container.capabilities.map((name) => `CAP_${name.toUpperCase().replace(/^CAP_/, '')}`)
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: container.command,
      env: Object.entries({ PATH: path, ...container.environment }).map(([name, value]) => `${name}=${value}`),
      cwd: '/',
      capabilities: { bounding: granted, effective: granted, permitted: granted },
      noNewPrivileges: true,
    },
    // It is mounted read-only; asked to make it so again, runc would take nosuid off.
    root: { path: nodePlaces.containerRoot, readonly: false },
    hostname: container.name,
    mounts: [...containerMounts, ...container.volumes.mounts],
    linux: {
      cgroupsPath: containerCgroup(container.node, container.podUid, container.id),
      resources: { devices: [{ allow: false, access: 'rwm' }, ...container.volumes.devices] },
      namespaces: [
        { type: 'pid' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'mount' },
        { type: 'network', path: `${nodePlaces.netns}/${container.id}` },
      ],
      maskedPaths: ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/scsi', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  }
}

const containerMounts = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=755'] },
  { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777'] },
]
