import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Forbidden, Unavailable } from '../src/base/index.ts'
import { labCgroup } from './cgroups.ts'
import { artefacts } from './places.ts'

/** The tools that the lab runs, with the Debian package of each. */
const tools: Record<string, string> = {
  ip: 'iproute2',
  tc: 'iproute2',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  losetup: 'mount',
  openssl: 'openssl',
  runc: 'runc',
  bpftool: 'bpftool',
}

/** Throws Forbidden without root, and Unavailable naming every tool, file or kernel feature that is missing. */
export function requireLabRequirements({ bare = false } = {}): void {
  requireRoot()
  const absent = Object.keys(tools).filter((tool) => !isOnPath(tool))
  if (absent.length > 0) {
    const packages = [...new Set(absent.map((tool) => tools[tool]))].join(' ')
    throw new Unavailable(`the lab needs ${absent.join(', ')}, which this machine does not have`, {
      remedy: `Install it with: apt-get install ${packages} (or: make setup)`,
    })
  }
  const needed = bare ? [artefacts.accessPort] : [artefacts.accessPort, artefacts.cniPlugin]
  const unbuilt = [...needed, artefacts.pacedDrive].filter((file) => !existsSync(file))
  if (unbuilt.length > 0) throw new Unavailable(`not built yet: ${unbuilt.join(', ')}`, { remedy: 'Run: make build' })
  if (labCgroup() === undefined) {
    throw new Unavailable('the lab needs the unified cgroup hierarchy, which is not mounted', {
      remedy: 'Mount it with: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified',
    })
  }
}

/** Throws Forbidden unless the caller is root. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new Forbidden('the lab needs root: it makes network namespaces and loads eBPF programs', {
    remedy: 'Run the same command as root, for example with sudo.',
  })
}

/** Administrators' tools are in the sbin folders, which are not on everybody's PATH. */
function isOnPath(tool: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
