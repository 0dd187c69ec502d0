import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { exec, Unavailable } from '../src/base/index.ts'
import { killCgroup, labCgroups, makeLabCgroup, removeLabCgroups } from './cgroups.ts'
import { dropVolumeDevices, plugDrive } from './drives.ts'
import { artefacts, places } from './places.ts'
import {
  childrenOf,
  identify,
  insideMachine,
  isRunning,
  joiningCgroup,
  lastLines,
  startDaemon,
  type ProcessIdentity,
} from './processes.ts'
import { machineStates } from './state.ts'
import { cableInterface, connectPort, disconnectPort, planeInterfaces } from './switch.ts'

/** A cable between a machine and the switch. */
export interface Cable {
  /** Name of the interface in the machine. */
  interface: string
  macAddress: string
  /** With its prefix length; absent: an interface that is for containers only. */
  address?: string
}

/** A machine of the cluster: a node, or the one that control runs on. */
export interface MachineSettings {
  name: string
  /** To the switch; the port of `cableInterface` has the name of the machine. */
  cables: [Cable, ...Cable[]]
  /** Default gateway on the management network. */
  gateway?: string
  /** Bits per second of its switch port; null is no limit. */
  rate: number | null
  /** Whether it has a disk and /run of its own (a node) or shares the host's files. */
  hasDisk: boolean
  /** Whether its disk has room of its own for kubelet and containerd. */
  forKubelet?: boolean
  /** Bytes of its drive for volumes; absent: it has none. */
  driveSize?: number
  /** Operations per second that its drive gives; null: what the machine's disk gives. */
  driveIops?: number | null
}

const namespaces = ['--net', '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child', '--mount-proc']

/** Boots a machine and plugs it into the switch; its disk is as it was left. */
export async function startMachine(settings: MachineSettings): Promise<void> {
  await removeLabCgroups(settings.name) // a power failure leaves those of the containers, a boot does not
  const identity = await boot(settings)
  machineStates.set(settings.name, identity)
  const { driveSize, driveIops = null } = settings
  if (driveSize !== undefined) await plugDrive(settings.name, identity.pid, { bytes: driveSize, iops: driveIops })
  await plugIn(settings, identity.pid)
}

async function plugIn({ name, cables, rate, gateway }: MachineSettings, pid: number): Promise<void> {
  const netns = String(pid)
  for (const cable of cables) await connectPort({ ...cable, name: portOf(name, cable.interface), netns, rate, vlan: 0 })
  const lines = cables.flatMap(({ interface: device, address }) => [
    ...(address === undefined ? [] : [`address add ${address} dev ${device}`]),
    `link set ${device} up`,
  ])
  if (gateway !== undefined) lines.push(`route add default via ${gateway}`)
  await exec(insideMachine(pid, ['ip', '-batch', '-']), { input: `${lines.join('\n')}\n` })
  // Both interfaces hear a question for the address of one; only that one may answer.
  if (cables.length > 1) await exec(insideMachine(pid, ['sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=1']))
}

/** Name of the switch port that an interface of a machine is plugged into. */
export function portOf(machine: string, device: string): string {
  return device === cableInterface ? machine : `${machine}-${device}`
}

/** A power failure: everything in the machine ends at once, its disk stays, its cable goes dark. */
export async function killMachine(name: string): Promise<void> {
  await dropVolumeDevices(name)
  for (const cgroup of labCgroups(name)) await killCgroup(cgroup)
  machineStates.delete(name)
  await disconnectPort(...[cableInterface, ...Object.values(planeInterfaces)].map((device) => portOf(name, device)))
  await removeLabCgroups(name)
}

/** Starts a program in a machine, with its output in the lab's logs; returns the process that it itself is. */
export async function startProgram(
  machinePid: number,
  machine: string,
  program: string,
  command: string[],
): Promise<ProcessIdentity> {
  const log = programLog(program)
  const cgroup = makeLabCgroup(`${machine}/system`)
  const entry = startDaemon(joiningCgroup(cgroup, insideMachine(machinePid, command)), log)
  const end = Date.now() + 60_000
  for (;;) {
    // nsenter stays behind as the parent of what it started: it cannot change its own process id namespace
    const child = identify(childrenOf(entry.pid ?? 0)[0] ?? 0)
    if (child) return child
    if (entry.exitCode !== null || Date.now() > end) {
      throw new Unavailable(`${program} did not start: ${lastLines(log)}`, { remedy: `See its log, ${log}` })
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Log file of a program of the lab. */
export function programLog(program: string): string {
  return join(places.logs, `${program}.log`)
}

async function boot({ name, hasDisk, forKubelet }: MachineSettings): Promise<ProcessIdentity> {
  if (hasDisk) makeDisk(places.disk(name))
  const script = [
    'env',
    `KUBELET=${forKubelet ? 'yes' : ''}`,
    'sh',
    artefacts.bootMachine,
    name,
    ...(hasDisk ? [places.disk(name)] : []),
  ]
  const command = joiningCgroup(makeLabCgroup(`${name}/system`), ['unshare', ...namespaces, ...script])
  const log = programLog(`${name}-boot`)
  const unshare = await startAndAwaitReady(command, log)
  const identity = identify(childrenOf(unshare)[0] ?? 0)
  if (identity && isRunning(identity)) return identity
  throw new Unavailable(`machine ${name} did not boot: ${lastLines(log)}`, { remedy: `See its log, ${log}` })
}

function makeDisk(disk: string): void {
  for (const folder of ['etc', 'opt', 'var/lib']) {
    mkdirSync(join(disk, folder), { recursive: true })
    mkdirSync(join(disk, 'work', folder), { recursive: true })
  }
}

function startAndAwaitReady([file, ...args]: [string, ...string[]], logFile: string): Promise<number> {
  const log = openSync(logFile, 'a', 0o600)
  const child = spawn(file, args, { detached: true, stdio: ['ignore', 'pipe', log] })
  closeSync(log)
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      reject(
        new Unavailable(`a machine did not boot: ${why} ${lastLines(logFile)}`, { remedy: `See its log, ${logFile}` }),
      )
    }
    child.on('error', (error) => fail(error.message))
    child.on('exit', (code) => fail(`exit code ${code}.`))
    child.stdout!.once('data', () => {
      child.stdout!.destroy()
      child.removeAllListeners('exit')
      child.unref()
      resolve(child.pid!)
    })
  })
}
