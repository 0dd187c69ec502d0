import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { execJson } from '../src/base/index.ts'
import { hasOtherLabs, labCgroups, processesIn } from './cgroups.ts'
import { labNetnsFiles } from './netns.ts'
import { labLoopDevices } from './drives.ts'
import { commonPrefix, driveDirectory, labDirectory, labPrefix } from './places.ts'

/** Everything on the machine that belongs to a lab, as names that a person can look up; all empty when none is left. */
export interface Leftovers {
  /** Process ids with their command lines. */
  processes: string[]
  /** Files of network namespaces. */
  namespaces: string[]
  mounts: string[]
  /** Network devices in the host's namespace. */
  devices: string[]
  cgroups: string[]
  /** eBPF programs by id and name, and pins in the host's bpffs. */
  programs: string[]
  loopDevices: string[]
  directories: string[]
}

/** Takes inventory of what a lab has on this machine, however it was left. */
export async function findLeftovers(): Promise<Leftovers> {
  return {
    processes: labProcesses().map((pid) => `${pid} ${commandLine(pid)}`),
    namespaces: labNetnsFiles(),
    mounts: labMounts(),
    devices: readdirSync('/sys/class/net').filter((device) => device.startsWith(`${labPrefix}-`)),
    cgroups: labCgroups(),
    programs: [...(await labPrograms()), ...labPins()],
    loopDevices: labLoopDevices().map(({ devicePath }) => devicePath),
    directories: [labDirectory, driveDirectory].filter((folder) => existsSync(folder)),
  }
}

/** The leftovers as lines `kind: name`; empty when nothing is left. */
export function describeLeftovers(leftovers: Leftovers): string[] {
  return Object.entries(leftovers).flatMap(([kind, names]) => (names as string[]).map((name) => `${kind}: ${name}`))
}

/** Processes of a lab: those in its cgroup, and those that others started in its network namespaces. */
export function labProcesses(): number[] {
  const own = new Set(labCgroups().flatMap((cgroup) => processesIn(cgroup)))
  const namespaces = new Set(labNetnsFiles().flatMap((file) => namespaceOf(file)))
  for (const pid of allProcesses()) {
    const namespace = netnsOf(pid)
    if (namespace !== undefined && namespaces.has(namespace)) own.add(pid)
  }
  return [...own].sort((a, b) => a - b)
}

/** Mount points of a lab in this mount namespace, the deepest first. */
export function labMounts(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string[] {
  const points = mountinfo.split('\n').flatMap((line) => line.split(' ')[4] ?? [])
  const ours = points.filter((point) => point.startsWith(`${labDirectory}/`) || point.includes(`/netns/${labPrefix}-`))
  return ours.reverse()
}

function labPins(): string[] {
  const bpffs = '/sys/fs/bpf'
  if (!existsSync(bpffs)) return []
  return readdirSync(bpffs)
    .filter((name) => name.startsWith(labPrefix))
    .map((name) => join(bpffs, name))
}

/** Programs do not tell whose they are, so that they are only asked about while no other lab is there. */
async function labPrograms(): Promise<string[]> {
  if (hasOtherLabs()) return []
  const programs = await execJson<{ id: number; name?: string }[]>(['bpftool', '--json', 'prog', 'show'])
  return (programs ?? [])
    .filter(({ name }) => name?.startsWith(`${commonPrefix}_`))
    .map(({ id, name }) => `${id} ${name}`)
}

/** A namespace file is its namespace's only while it is mounted; otherwise it is an ordinary empty file. */
function namespaceOf(file: string): string[] {
  try {
    const { dev, ino } = statSync(file)
    return dev === statSync('/proc/self/ns/net').dev ? [`net:[${ino}]`] : []
  } catch {
    return []
  }
}

function netnsOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

function allProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
}

function commandLine(pid: number): string {
  return readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 120)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
