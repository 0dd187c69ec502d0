import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  Conflict,
  exec,
  InvalidInput,
  NotFound,
  Unavailable,
  type ExecOptions,
  type ExecResult,
} from '../src/base/index.ts'
import { cgroupHierarchies, containerCgroup, makeLabCgroup, processesIn, removePodCgroup } from './cgroups.ts'
import { callCni, type CniRequest, type CniResult } from './cni.ts'
import { CniFailure } from './cni-failure.ts'
import { publishVolumes, unpublishVolumes, volumeConfiguration } from './container-volumes.ts'
import { defaultCapabilities, ociConfiguration } from './container-config.ts'
import { nodePlaces, places } from './places.ts'
import {
  execInLab,
  identify,
  insideMachine,
  isRunning,
  joiningCgroup,
  lastLines,
  signalProcess,
  waitForExit,
} from './processes.ts'
import { containerStates, machinePid, type ContainerState } from './state.ts'

/** A container to start. `network`, `perfTier` and `endpointId` become the pod annotation of its first endpoint. */
export interface ContainerOptions {
  node: string
  name: string
  /** Namespace of the pod; `default` unless told. */
  namespace?: string
  network?: string
  perfTier?: string
  /** Name of a static endpoint. */
  endpointId?: string
  /** Annotations of the pod, beside those above. */
  annotations?: Record<string, string>
  /** Volumes, each as NAME:PATH with the path in the container. */
  volumes?: string[]
  /** `sleep infinity` unless told. */
  command?: string[]
  /** Names such as NET_RAW, in addition to a set without any power over the network. */
  capabilities?: string[]
  environment?: Record<string, string>
}

/** A container of the lab. */
export class Container {
  readonly name: string
  readonly node: string
  readonly id: string
  /** What ADD answered. */
  readonly result: CniResult
  /** Its network namespace as the node sees it. */
  readonly netnsPath: string

  constructor(state: ContainerState) {
    this.name = state.name
    this.node = state.node
    this.id = state.id
    this.result = (state.result as CniResult | undefined) ?? { cniVersion: '' }
    this.netnsPath = netnsOf(state.id)
  }

  /** Addresses without prefix lengths, the primary one first. */
  get addresses(): string[] {
    return (this.result.ips ?? []).map(({ address }) => address.split('/')[0]!)
  }

  /** The primary address. */
  get address(): string {
    return this.addresses[0]!
  }

  /** MAC of the first interface inside the container. */
  get mac(): string {
    return this.result.interfaces?.find(({ sandbox }) => sandbox !== undefined && sandbox !== '')?.mac ?? ''
  }

  /** Its network namespace as the host sees it; only while the node runs. */
  get hostNetnsPath(): string {
    return `/proc/${machinePid(this.node)}/root${this.netnsPath}`
  }

  /** Whether its first process runs. */
  get isRunning(): boolean {
    const identity = containerStates.get(this.name)?.process
    return identity !== undefined && isRunning(identity)
  }

  /** Runs a command in the container; throws ExecError when it fails. */
  async exec(command: string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execInLab(this.execCommand(command), options)
  }

  /** Starts a command in the container with pipes, for what goes on for a while. */
  spawn(command: string[]): ChildProcess {
    const [file, ...args] = this.execCommand(command)
    return spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  }

  /** The host's command that runs a command in the container. */
  execCommand(command: string[], { terminal = false } = {}): [string, ...string[]] {
    return onNode(this.node, runc('exec', ...(terminal ? ['--tty'] : []), this.id, ...command))
  }

  /** Runs a command of the node, with its powers, in the container's network namespace alone; quicker than `exec`. */
  async execInNetns(command: string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execInLab(onNode(this.node, ['nsenter', `--net=${this.netnsPath}`, '--', ...command]), options)
  }

  /** Ends it as kubelet does: SIGTERM, after `grace` milliseconds SIGKILL, then DEL. */
  async stop({ grace = 500 } = {}): Promise<void> {
    const identity = containerStates.get(this.name)?.process
    if (identity && signalProcess(identity, 'SIGTERM')) await waitForExit(identity, grace)
    await this.kill()
  }

  /** Kills it, then removes it as a runtime does: DEL, then its network namespace. */
  kill(): Promise<void> {
    return removeContainer(this.name)
  }
}

/** Starts a container in containerd's order: network namespace, ADD, process. What it made is undone on failure. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  if (containerStates.get(options.name)?.failed) await removeContainer(options.name)
  const state = register(options)
  try {
    await createPodNetns(state.node, state.id)
    await publishVolumes(state, options.volumes ?? [], () => containerStates.set(state.name, state))
    state.result = await attach(state)
    containerStates.set(state.name, state)
    await runProcess(state, options)
    containerStates.set(state.name, state)
    return new Container(state)
  } catch (error) {
    // the first error is the one to report; a runtime tries DEL again later, here with the next start
    await removeContainer(state.name).catch(() => containerStates.set(state.name, { ...state, failed: true }))
    throw error
  }
}

/** The container of that name. Throws NotFound. */
export function findContainer(name: string): Container {
  return new Container(requireState(name))
}

/** Kills a container and removes everything of it. Throws CniFailure when DEL fails; then it can be tried again. */
export async function removeContainer(name: string): Promise<void> {
  const state = requireState(name)
  const root = `/proc/${machinePid(state.node)}/root`
  if (state.process && signalProcess(state.process, 'SIGKILL')) await waitForExit(state.process, 5000)
  if (existsSync(`${root}${nodePlaces.runcState}/${state.id}`)) {
    await exec(onNode(state.node, runc('delete', '--force', state.id)))
  }
  removePodCgroup(state.node, state.podUid)
  await unpublishVolumes(state)
  const hasNetns = existsSync(`${root}${netnsOf(state.id)}`)
  const request = { ...cniRequest(state), netns: hasNetns ? netnsOf(state.id) : '', prevResult: state.result }
  const outcome = await callCni(state.node, 'DEL', request)
  if (!outcome.ok) throw new CniFailure('DEL', name, outcome.error)
  await removePodNetns(state.node, state.id)
  rmSync(`${root}${bundleOf(state.id)}`, { recursive: true, force: true })
  containerStates.delete(name)
}

/** What the runtime says about a container in each of its calls. */
function cniRequest(state: ContainerState): CniRequest {
  return {
    containerId: state.id,
    netns: netnsOf(state.id),
    interfaceName: state.interfaceName,
    pod: { namespace: state.namespace, name: state.name, uid: state.podUid },
    annotations: state.annotations,
  }
}

/** The annotations of a pod that asks for these options. */
export function podAnnotations({
  network,
  perfTier,
  endpointId,
  annotations,
}: ContainerOptions): Record<string, string> {
  const wishes = endpointId === undefined ? { network, perfTier } : { endpointId, perfTier }
  const isAsking = Object.values(wishes).some((value) => value !== undefined)
  return { ...annotations, ...(isAsking ? { 'carbonado.io/endpoint0': JSON.stringify(wishes) } : {}) }
}

function register(options: ContainerOptions): ContainerState {
  const { name, node } = options
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
    throw new InvalidInput(`container name "${name}" must be 1 to 63 small letters, digits or hyphens`)
  }
  if (containerStates.has(name)) {
    throw new Conflict(`the lab already has a container "${name}"`, { remedy: `Remove it with: dctl lab rm ${name}` })
  }
  machinePid(node)
  const state: ContainerState = {
    name,
    node,
    id: randomBytes(32).toString('hex'),
    podUid: randomUUID(),
    interfaceName: 'eth0',
    namespace: options.namespace ?? 'default',
    annotations: podAnnotations(options),
  }
  containerStates.set(name, state)
  return state
}

/**
 * Makes a network namespace for a container on a node, as a runtime does before ADD, and returns its path there.
 * Ping without privileges is what containerd allows its containers too.
 */
export async function createPodNetns(node: string, id: string): Promise<string> {
  const prepare = 'ip link set lo up && echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range'
  const create = 'touch "$1" && exec unshare --net="$1" sh -c "$2"'
  await exec(onNode(node, ['sh', '-c', create, 'sh', netnsOf(id), prepare]))
  return netnsOf(id)
}

/** Lets go of a container's network namespace. Lazily, as containerd does: somebody may be looking into it. */
export async function removePodNetns(node: string, id: string): Promise<void> {
  const file = `/proc/${machinePid(node)}/root${netnsOf(id)}`
  if (existsSync(file)) await exec(onNode(node, ['umount', '--lazy', netnsOf(id)])).catch(() => {}) // not a mount yet
  rmSync(file, { force: true })
}

async function attach(state: ContainerState): Promise<unknown> {
  const outcome = await callCni(state.node, 'ADD', cniRequest(state))
  if (outcome.ok) return outcome.result
  throw new CniFailure('ADD', state.name, outcome.error)
}

async function runProcess(state: ContainerState, options: ContainerOptions): Promise<void> {
  const { node, id, name, podUid } = state
  const command = options.command ?? ['sleep', 'infinity']
  const capabilities = [...defaultCapabilities, ...(options.capabilities ?? [])]
  const bundle = `/proc/${machinePid(node)}/root${bundleOf(id)}`
  mkdirSync(bundle, { recursive: true, mode: 0o700 })
  const volumes = volumeConfiguration(state)
  const configuration = {
    name,
    node,
    id,
    podUid,
    volumes,
    command,
    capabilities,
    environment: options.environment ?? {},
  }
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(ociConfiguration(configuration)))
  const log = containerLog(name)
  const run = runc('--log', `${bundleOf(id)}/runc.log`, 'run', '--detach', '--bundle', bundleOf(id), id)
  const exitCode = await runWithLog(joiningCgroup(makeLabCgroup(`${node}/system`), onNode(node, run)), log)
  if (exitCode !== 0) {
    const why = runcMessage(lastLines(join(bundle, 'runc.log'), 1)) || lastLines(log, 2)
    throw new Unavailable(`container ${name} did not start: ${why}`, { remedy: 'Check its command and capabilities.' })
  }
  state.process = firstProcess(state)
}

/** The sentence in a line of runc's log. */
function runcMessage(line: string): string {
  return /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line
}

/** Where what a container prints goes. */
export function containerLog(name: string): string {
  return join(places.logs, `container-${name}.log`)
}

/** The container's process 1 under the host's numbering; undefined when it has ended already. */
function firstProcess({ node, podUid, id }: ContainerState): ContainerState['process'] {
  const cgroups = cgroupHierarchies().map(({ path }) => join(path, containerCgroup(node, podUid, id)))
  const pids = new Set(cgroups.flatMap((cgroup) => processesIn(cgroup)))
  for (const pid of pids) if (isFirstProcess(pid)) return identify(pid)
  return undefined
}

function isFirstProcess(pid: number): boolean {
  try {
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function runWithLog([file, ...args]: [string, ...string[]], logFile: string): Promise<number | null> {
  const log = openSync(logFile, 'a', 0o600)
  const child = spawn(file, args, { stdio: ['ignore', log, log] })
  closeSync(log)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', resolve)
  })
}

function requireState(name: string): ContainerState {
  const state = containerStates.get(name)
  if (state) return state
  throw new NotFound(`the lab has no container "${name}"`, { remedy: 'See what there is with: dctl lab status' })
}

function onNode(node: string, command: string[]): [string, ...string[]] {
  return insideMachine(machinePid(node), command)
}

function runc(...args: string[]): string[] {
  return ['runc', '--root', nodePlaces.runcState, ...args]
}

function netnsOf(id: string): string {
  return `${nodePlaces.netns}/${id}`
}

function bundleOf(id: string): string {
  return `${nodePlaces.bundles}/${id}`
}
