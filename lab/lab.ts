import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { NotFound, type ExecOptions, type ExecResult } from '../src/base/index.ts'
import { RestStore } from '../src/store/rest/index.ts'
import { callCni, type CniCommand, type CniOutcome, type CniRequest } from './cni.ts'
import {
  createPodNetns,
  findContainer,
  removePodNetns,
  startContainer,
  type Container,
  type ContainerOptions,
} from './containers.ts'
import { takeLabDown } from './down.ts'
import { addHost, onHost, removeHost, type HostOptions } from './hosts.ts'
import { startKubernetesNode } from './kubernetes/node.ts'
import { killMachine, portOf, startMachine } from './machines.ts'
import { places, projectRoot } from './places.ts'
import { execInLab, insideMachine } from './processes.ts'
import {
  agentProgram,
  controlMachine,
  endProgram,
  labConnection,
  signalProgram,
  startAgent,
  startControl,
} from './programs.ts'
import { containerStates, isMachineRunning, machinePid, requireLab, type LabState } from './state.ts'
import { cableInterface, setPortUp } from './switch.ts'
import { bringLabUp, nodeMachine, waitForReadyNodes, type LabOptions } from './up.ts'

/** A host outside the cluster, behind the switch. */
export class Host {
  readonly name: string
  readonly netnsPath: string

  constructor(name: string) {
    this.name = name
    this.netnsPath = places.hostNetns(name)
  }

  /** Runs a command on the host; throws ExecError when it fails. */
  async exec(command: string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execInLab(onHost(this.name, command), options)
  }

  /** Starts a command on the host with pipes. */
  spawn(command: string[]): ChildProcess {
    return spawnCommand(onHost(this.name, command))
  }

  /** Unplugs the host and kills what runs on it. */
  remove(): Promise<void> {
    return removeHost(this.name)
  }
}

/**
 * A running lab. It lives in the kernel and below /run, not in this object: any process of root may open it, and it
 * stays when the process ends.
 */
export class Lab {
  readonly state: LabState
  #store: RestStore | undefined

  private constructor(state: LabState) {
    this.state = state
  }

  /** Builds a lab, or opens the one that is up when it is the same. */
  static async up(options: LabOptions = {}): Promise<Lab> {
    return new Lab((await bringLabUp(options)).state)
  }

  /** Opens the lab that is up. Throws NotFound when there is none. */
  static open(): Lab {
    return new Lab(requireLab())
  }

  /** Removes everything of the lab. */
  async down(): Promise<void> {
    await this.close()
    await takeLabDown()
  }

  /** Names of the nodes. */
  get nodes(): string[] {
    return this.state.nodes
  }

  /** The objects of the lab's control, with the rights of an administrator. */
  get store(): RestStore {
    const connection = labConnection()
    if (!connection) throw new NotFound('the lab has no control', { remedy: 'Start one with: dctl lab up' })
    this.#store ??= new RestStore(connection)
    return this.#store
  }

  /** Closes what this object opened; the lab goes on. */
  async close(): Promise<void> {
    await this.#store?.close()
    this.#store = undefined
  }

  /** Starts a container; throws CniFailure when ADD fails and Unavailable when its process does not start. */
  startContainer(options: ContainerOptions): Promise<Container> {
    return startContainer(options)
  }

  /** The container of that name. Throws NotFound. */
  container(name: string): Container {
    return findContainer(name)
  }

  /** All containers that were started and not removed. */
  containers(): Container[] {
    return containerStates.list().map(({ name }) => findContainer(name))
  }

  /** Calls the CNI plugin on a node as a runtime does; errors of the plugin are returned, not thrown. */
  cni(node: string, command: CniCommand, request: CniRequest = {}): Promise<CniOutcome> {
    return callCni(node, command, request)
  }

  /** Makes a network namespace for `cni` without a container; returns its path on the node. */
  createNetns(node: string, id: string): Promise<string> {
    return createPodNetns(node, id)
  }

  /** Lets go of what `createNetns` made. */
  removeNetns(node: string, id: string): Promise<void> {
    return removePodNetns(node, id)
  }

  /** Runs a command on a node with all its powers. */
  async nodeExec(node: string, command: string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execInLab(this.nodeCommand(node, command), options)
  }

  /** Starts a command on a node with pipes. */
  nodeSpawn(node: string, command: string[]): ChildProcess {
    return spawnCommand(this.nodeCommand(node, command))
  }

  /** The host's command that runs a command on a node. */
  nodeCommand(node: string, command: string[]): [string, ...string[]] {
    return insideMachine(machinePid(node), command)
  }

  /** Cuts a node's power: everything in it ends at once, its disk stays. */
  async killNode(node: string): Promise<void> {
    this.#requireNode(node)
    return killMachine(node)
  }

  /** Boots a node that was killed, with its agent or its kubelet; one that runs only gets back what does not run on it. */
  async startNode(node: string): Promise<void> {
    this.#requireNode(node)
    if (!isMachineRunning(node)) await startMachine(nodeMachine(node, this.state))
    if (this.state.kubernetes) return startKubernetesNode(node)
    if (!this.state.bare) await startAgent(node)
  }

  /** Pulls the cable of an interface of a node out of the switch, or puts it in again; that of its containers unless told. */
  async setCable(node: string, isIn: boolean, device?: string): Promise<void> {
    this.#requireNode(node)
    await setPortUp(portOf(node, device ?? cableInterface), isIn)
  }

  /** Kills the agent of a node with SIGKILL; containers and their traffic go on. */
  async killAgent(node: string): Promise<void> {
    this.#requireNode(node)
    return endProgram(agentProgram(node), 'SIGKILL')
  }

  /** Stops the agent of a node in the middle of what it does (SIGSTOP), or lets it go on (SIGCONT). */
  signalAgent(node: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#requireNode(node)
    signalProgram(agentProgram(node), signal)
  }

  /** Ends the agent of a node in an orderly way. */
  async stopAgent(node: string): Promise<void> {
    this.#requireNode(node)
    return endProgram(agentProgram(node), 'SIGTERM')
  }

  /** Starts the agent of a node unless it runs, and waits until it takes CNI requests. */
  async startAgent(node: string): Promise<void> {
    this.#requireNode(node)
    return startAgent(node)
  }

  /** Ends control: in an orderly way, or with SIGKILL. */
  stopControl({ kill = false } = {}): Promise<void> {
    return endProgram(controlMachine, kill ? 'SIGKILL' : 'SIGTERM')
  }

  /** Starts control unless it runs, and waits until it answers. */
  startControl(): Promise<void> {
    return startControl()
  }

  /** Waits until control says that these nodes (all unless told) are Ready. */
  waitForReady(nodes = this.nodes): Promise<void> {
    return waitForReadyNodes(nodes)
  }

  /** Plugs a host outside the cluster into an access port of the switch. */
  async addHost(options: HostOptions): Promise<Host> {
    await addHost(options)
    return new Host(options.name)
  }

  /** The host of that name. */
  host(name: string): Host {
    return new Host(name)
  }

  /** Runs dctl against the lab; throws ExecError, with its exit code and output, when it fails. */
  dctl(args: string[], options: ExecOptions = {}): Promise<ExecResult> {
    const env = { ...process.env, ...options.env, DCTL_CONFIG: places.dctlConfig }
    return execInLab([join(projectRoot, 'bin', 'dctl'), ...args], { ...options, env })
  }

  #requireNode(node: string): void {
    if (this.nodes.includes(node)) return
    throw new NotFound(`the lab has no node "${node}"`, { remedy: `Its nodes are ${this.nodes.join(', ')}.` })
  }
}

function spawnCommand([file, ...args]: [string, ...string[]]): ChildProcess {
  return spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] })
}
