import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAnswering, Unavailable } from '../src/base/index.ts'
import { authorityFile, issueCertificate } from './certificates.ts'
import { carbonadoConfigurationList } from './cni.ts'
import { startProgram, programLog } from './machines.ts'
import { artefacts, nodePlaces, nodePools, places, projectRoot } from './places.ts'
import { isRunning, lastLines, signalProcess, waitFor, waitForExit, type ProcessIdentity } from './processes.ts'
import { machinePid, programStates, readJson, readLabState, writeJson, type LabState } from './state.ts'
import { cableInterface, planeInterfaces } from './switch.ts'

/** Name of the machine that control runs on. */
export const controlMachine = 'control'

/** Address of control on the management network, and its port. */
export const controlAddress = '10.77.0.1'
const controlPort = 7443

/** Prefix length of the management network. */
export const managementPrefixLength = 24

const agentPort = 7444

/** What the lab tells Carbonado about uplinks of its nodes that nothing limits: 100 Gbit/s. */
const unlimitedRate = 100e9

/** One entry of a file of bearer tokens. */
interface TokenEntry {
  token: string
  user: string
  role: 'admin' | 'provisioner' | 'viewer' | 'agent'
  nodeName?: string
}

/** Bearer tokens of the lab: one for people, one that control shows to agents, two per agent. */
export interface LabTokens {
  admin: string
  control: string
  /** By which agents know each other. */
  peers: Record<string, string>
  agents: Record<string, string>
  /** Of the CSI controller service. */
  provisioner: string
}

/** Address of a node on the management network. */
export function nodeAddress(node: string): string {
  return `10.77.0.${10 + nodeNumber(node)}`
}

/** Address of a node on the storage network, where its planes have interfaces of their own. */
export function storageAddress(node: string): string {
  return `10.78.0.${10 + nodeNumber(node)}`
}

/** MAC of an interface of a node, the first being its uplink: hardware keeps it across a power failure. */
export function nodeMac(node: string, cable = 0): string {
  return `0a:77:00:0${cable}:00:${nodeNumber(node).toString(16).padStart(2, '0')}`
}

/** Name of an agent among the lab's programs. */
export function agentProgram(node: string): string {
  return `${node}-agent`
}

/** Makes the tokens of a lab and writes what dctl needs to reach it. */
export function createTokens(nodes: string[]): LabTokens {
  const token = (): string => randomBytes(24).toString('base64url')
  const tokens = {
    admin: token(),
    control: token(),
    peers: Object.fromEntries(nodes.map((node) => [node, token()])),
    provisioner: token(),
    agents: Object.fromEntries(nodes.map((node) => [node, token()])),
  }
  const dctl = { server: `unix://${places.controlSocket}`, caFile: authorityFile, token: tokens.admin }
  writeJson(places.dctlConfig, dctl)
  return tokens
}

/** Writes control's configuration, certificates and tokens. */
export async function configureControl(tokens: LabTokens): Promise<void> {
  const tls = await issueCertificate('control', [controlAddress])
  const at = (file: string): string => join(places.control, file)
  mkdirSync(at('data'), { recursive: true, mode: 0o700 })
  const entries: TokenEntry[] = [
    { token: tokens.admin, user: 'admin', role: 'admin' },
    { token: tokens.provisioner, user: 'csi', role: 'provisioner' },
    ...Object.entries(tokens.agents).map(([node, token]) => ({
      token,
      user: `system:node:${node}`,
      role: 'agent' as const,
      nodeName: node,
    })),
  ]
  writeJson(at('tokens.json'), entries)
  writeSecret(at('agent-token'), tokens.control)
  writeJson(at('control.json'), {
    dataDirectory: at('data'),
    listen: [{ host: controlAddress, port: controlPort }, { socketPath: places.controlSocket }],
    tls,
    tokensFile: at('tokens.json'),
    agentCaFile: authorityFile,
    agentTokenFile: at('agent-token'),
  })
}

/** Writes onto a node's disk what an installation would: agent, CNI plugin, their configuration. */
export async function configureNode(
  node: string,
  state: Pick<LabState, 'rate' | 'planes'>,
  tokens: LabTokens,
): Promise<void> {
  const tls = await issueCertificate(node, [nodeAddress(node)])
  const disk = places.disk(node)
  const folder = join(disk, 'etc', 'carbonado')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  copyFileSync(authorityFile, join(folder, 'ca.crt'))
  copyFileSync(tls.certificateFile, join(folder, 'agent.crt'))
  copyFileSync(tls.keyFile, join(folder, 'agent.key'))
  writeSecret(join(folder, 'control-token'), tokens.agents[node]!)
  writeSecret(join(folder, 'peer-token'), tokens.peers[node]!)
  writeSecret(join(folder, 'csi-token'), tokens.provisioner)
  const entries: (TokenEntry | (Omit<TokenEntry, 'token'> & { sha256: string }))[] = [
    { token: tokens.control, user: 'control', role: 'viewer' },
    ...Object.entries(tokens.peers).map(([name, token]) => {
      const sha256 = createHash('sha256').update(token).digest('hex')
      return { sha256, user: `agent-${name}`, role: 'agent' as const, nodeName: name }
    }),
  ]
  writeJson(join(folder, 'tokens.json'), entries)
  writeJson(join(folder, 'agent.json'), agentConfiguration(node, state))
  writeJson(join(disk, nodePlaces.cniConfiguration), carbonadoConfigurationList)
  mkdirSync(join(disk, nodePlaces.cniPlugins), { recursive: true })
  copyFileSync(artefacts.cniPlugin, join(disk, nodePlaces.cniPlugins, 'carbonado-cni'))
}

/** The agent's configuration, with paths as the node sees them. */
export function agentConfiguration(node: string, { rate: limit, planes }: Pick<LabState, 'rate' | 'planes'>): object {
  const rate = limit ?? unlimitedRate
  const others = Object.entries(planeInterfaces).map(([plane, device]) => [plane, { interface: device, rate }])
  const pods = { interface: cableInterface, rate, mtu: 1500 }
  const at = (file: string): string => `/etc/carbonado/${file}`
  return {
    nodeName: node,
    node: { uplinks: { pods, ...(planes ? Object.fromEntries(others) : {}) } },
    control: {
      server: `https://${controlAddress}:${controlPort}`,
      caFile: at('ca.crt'),
      tokenFile: at('control-token'),
    },
    stateDirectory: nodePlaces.agentState,
    cniSocket: nodePlaces.cniSocket,
    bpffs: nodePlaces.bpffs,
    programs: artefacts.programs,
    drives: [nodePlaces.drive],
    poolDirectory: nodePools(node),
    csi: { socket: nodePlaces.csiSocket, controllerTokenFile: at('csi-token') },
    listen: { host: nodeAddress(node), port: agentPort },
    tls: { certificateFile: at('agent.crt'), keyFile: at('agent.key') },
    tokensFile: at('tokens.json'),
    peers: { tokenFile: at('peer-token') },
  }
}

/** Starts control unless it runs, and waits until its socket answers. */
export async function startControl(): Promise<void> {
  await startUnlessRunning(controlMachine, controlMachine, 'control', join(places.control, 'control.json'))
  await waitForSocket(controlMachine, places.controlSocket)
}

/** Starts the agent of a node unless it runs, and waits until it takes CNI requests. */
export async function startAgent(node: string): Promise<void> {
  await startUnlessRunning(node, agentProgram(node), 'agent', nodePlaces.agentConfiguration)
  await waitForSocket(agentProgram(node), `/proc/${machinePid(node)}/root${nodePlaces.cniSocket}`)
}

/** Ends a program of the lab and waits until it has gone; SIGTERM gives it 10 s before SIGKILL. */
export async function endProgram(program: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const identity = programStates.get(program)
  if (identity && signalProcess(identity, signal) && !(await waitForExit(identity, 10_000))) {
    signalProcess(identity, 'SIGKILL')
    await waitForExit(identity, 5000)
  }
  programStates.delete(program)
}

/** Sends a signal to a program of the lab; nothing happens when it does not run. */
export function signalProgram(program: string, signal: NodeJS.Signals): void {
  const identity = programStates.get(program)
  if (identity) signalProcess(identity, signal)
}

/** Whether a program of the lab runs. */
export function isProgramRunning(program: string): boolean {
  const identity = programStates.get(program)
  return identity !== undefined && isRunning(identity)
}

/** The bundle of a program when it is built, else its source, with the Node that runs this. */
function programCommand(name: 'control' | 'agent', configuration: string): string[] {
  const bundle = join(projectRoot, 'dist', `${name}.js`)
  const file = existsSync(bundle) ? bundle : join(projectRoot, 'src', name, 'main.ts')
  if (!existsSync(file)) throw new Unavailable(`there is no program ${name} at ${file}`, { remedy: 'Run: make build' })
  const cache = `NODE_COMPILE_CACHE=${join(projectRoot, 'build', 'compile-cache')}`
  return ['env', cache, process.execPath, file, '--config', configuration]
}

async function startUnlessRunning(
  machine: string,
  program: string,
  name: 'control' | 'agent',
  configuration: string,
): Promise<ProcessIdentity> {
  const running = programStates.get(program)
  if (running && isRunning(running)) return running
  const command = programCommand(name, configuration)
  const identity = await startProgram(machinePid(machine), machine, program, command)
  programStates.set(program, identity)
  return identity
}

/** A program that ends while it is waited for is reported at once, with what it said last. */
async function waitForSocket(program: string, path: string): Promise<void> {
  const log = programLog(program)
  await waitFor(
    `${program} to answer at ${path}; its log is ${log}`,
    async () => {
      if (await isAnswering(path)) return true
      if (isProgramRunning(program)) return false
      throw new Unavailable(`${program} ended at once: ${lastLines(log, 2)}`, { remedy: logRemedy(log) })
    },
    { deadline: 60_000, interval: 20 },
  )
}

/** A start that fails takes its logs with it. */
function logRemedy(log: string): string {
  return existsSync(places.state) && readLabState()?.phase === 'up'
    ? `See its log, ${log}`
    : `Start the lab with --keep, then see ${log}`
}

function writeSecret(file: string, text: string): void {
  rmSync(file, { force: true })
  writeFileSync(file, text, { mode: 0o600 })
}

/** The connection that dctl uses; undefined when control was never started. */
export function labConnection(): { server: string; caFile: string; token: string } | undefined {
  return readJson(places.dctlConfig)
}

function nodeNumber(node: string): number {
  return Number(node.slice(1))
}
