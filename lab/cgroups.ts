import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { commonPrefix, labPrefix } from './places.ts'

/** A mounted cgroup hierarchy: a version 1 controller, or the unified one. */
export interface CgroupHierarchy {
  path: string
  version: 1 | 2
}

/** The cgroup hierarchies in a mountinfo text. */
export function cgroupHierarchies(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupHierarchy[] {
  return mountinfo.split('\n').flatMap((line): CgroupHierarchy[] => {
    const [before, after] = line.split(' - ')
    const type = after?.split(' ')[0]
    const path = before?.split(' ')[4]
    if (path === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return []
    return [{ path, version: type === 'cgroup2' ? 2 : 1 }]
  })
}

/**
 * The lab's cgroup in the unified hierarchy. Every process of the lab is born in it or below it and children stay
 * there, so that `down` finds and kills all of them after any crash, without a list of process ids.
 */
export function labCgroup(): string | undefined {
  const unified = cgroupHierarchies().find(({ version }) => version === 2)
  return unified && join(unified.path, labPrefix)
}

/** Makes a cgroup below the lab's, such as `n1/system`, and returns the file to which a process writes to join it. */
export function makeLabCgroup(name: string): string {
  const path = join(labCgroup()!, name)
  mkdirSync(path, { recursive: true })
  return join(path, 'cgroup.procs')
}

/** Path of a pod's cgroup below the root of each hierarchy; that of its container is in it, as kubelet has it. */
function podCgroup(node: string, podUid: string): string {
  return `/${labPrefix}/${node}/containers/pod${podUid}`
}

/** Path of a container's cgroup below the root of each hierarchy. */
export function containerCgroup(node: string, podUid: string, containerId: string): string {
  return `${podCgroup(node, podUid)}/${containerId}`
}

/** Removes the cgroup of a pod without containers. */
export function removePodCgroup(node: string, podUid: string): void {
  for (const { path } of cgroupHierarchies()) removeTree(join(path, podCgroup(node, podUid)))
}

/** The host's process ids of a cgroup and everything below it, in any hierarchy where it exists. */
export function processesIn(cgroup: string): number[] {
  const below = subfolders(cgroup).flatMap((folder) => processesIn(folder))
  try {
    const own = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8')
    return [...own.split('\n').filter(Boolean).map(Number), ...below]
  } catch {
    return below
  }
}

/** The lab's folders in every hierarchy; `name` narrows to one machine. */
export function labCgroups(name = ''): string[] {
  return cgroupHierarchies()
    .map(({ path }) => join(path, labPrefix, name))
    .filter((path) => existsSync(path))
}

/** Whether there are labs of other names on this machine. */
export function hasOtherLabs(): boolean {
  const unified = cgroupHierarchies().find(({ version }) => version === 2)
  const names = unified ? readdirSync(unified.path) : []
  return names.some((name) => name !== labPrefix && (name === commonPrefix || name.startsWith(`${commonPrefix}.`)))
}

/** Kills every process below one of the lab's cgroups and waits up to 5 s until they are gone. */
export async function killCgroup(cgroup: string): Promise<void> {
  const end = Date.now() + 5000
  if (existsSync(join(cgroup, 'cgroup.kill'))) writeFileSync(join(cgroup, 'cgroup.kill'), '1')
  for (let pids = processesIn(cgroup); pids.length > 0 && Date.now() < end; pids = processesIn(cgroup)) {
    for (const pid of pids) killQuietly(pid)
    await sleep(5)
  }
}

/** Removes the lab's cgroups, or those of one machine, from every hierarchy; those still in use after 2 s stay. */
export async function removeLabCgroups(name = ''): Promise<void> {
  const end = Date.now() + 2000
  while (labCgroups(name).length > 0 && Date.now() < end) {
    for (const cgroup of labCgroups(name)) removeTree(cgroup)
    if (labCgroups(name).length > 0) await sleep(10)
  }
}

function removeTree(cgroup: string): void {
  for (const folder of subfolders(cgroup)) removeTree(folder)
  try {
    rmdirSync(cgroup)
  } catch {
    // busy until the kernel has buried the last process; the caller tries again
  }
}

function subfolders(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
  } catch {
    return []
  }
}

/** Kills a process that may end by itself. */
export function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // gone already
  }
}
