import { mkdirSync } from 'node:fs'
import { Conflict, InvalidInput } from '../src/base/index.ts'
import { Drive, Node, formatQuantity } from '../src/api/index.ts'
import { RestStore } from '../src/store/rest/index.ts'
import { createAuthority } from './certificates.ts'
import { takeLabDown } from './down.ts'
import { describeLeftovers, findLeftovers } from './leftovers.ts'
import {
  configureSchedulerExtender,
  installCarbonado,
  prepareKubernetes,
  startKubernetes,
  waitForReadyKubernetesNodes,
} from './kubernetes/index.ts'
import { startMachine, type MachineSettings } from './machines.ts'
import { labDirectory, places } from './places.ts'
import { identify, isRunning, waitFor } from './processes.ts'
import {
  configureControl,
  configureNode,
  controlAddress,
  controlMachine,
  createTokens,
  labConnection,
  managementPrefixLength,
  nodeAddress,
  nodeMac,
  storageAddress,
  startAgent,
  startControl,
} from './programs.ts'
import { requireLabRequirements } from './requirements.ts'
import { readLabState, writeJson, type LabState } from './state.ts'
import { cableInterface, createSwitch, planeInterfaces } from './switch.ts'

/** What lab to build. */
export interface LabOptions {
  /** How many nodes; 3 unless told. */
  nodes?: number
  /** Link rate of each node in bits per second; null is no limit; 1 Gbit/s unless told. */
  rate?: number | null
  /** Bytes of the drive for volumes that each node has; 4 GiB unless told. */
  driveSize?: number
  /** Operations per second that each drive gives; null, unless told: what the machine's disk gives. */
  driveIops?: number | null
  /** Only switch and nodes, or only Kubernetes on them, without control and agents. */
  bare?: boolean
  /** With Kubernetes on the nodes; control and agents are then what is installed into it. */
  kubernetes?: boolean
  /** With an interface of its own for each plane: management, storage, containers. */
  planes?: boolean
  /** Told what is being done. */
  onProgress?: (step: string) => void
  /** Leaves what was built when the build fails, so that one can look at it. */
  keepOnFailure?: boolean
  /** Stops the build and removes what was built. */
  signal?: AbortSignal
}

const mostNodes = 50
const defaultDriveSize = 4 * 2 ** 30
const smallestDrive = 2 ** 29

/**
 * Builds a lab, or finds that the very same one is up already (`alreadyUp`). What an earlier start or stop left half
 * done is removed first; a failure or `signal` removes everything again. Throws Conflict when another lab is up.
 */
export async function bringLabUp(options: LabOptions = {}): Promise<{ state: LabState; alreadyUp: boolean }> {
  const wanted = wantedState(options)
  requireLabRequirements({ bare: wanted.bare })
  const existing = readLabState()
  if (existing?.phase === 'up') return { state: agreeWith(existing, wanted), alreadyUp: true }
  if (existing && isRunning(existing.starter)) {
    const what = existing.phase === 'starting' ? 'started' : 'stopped'
    throw new Conflict(`the lab is being ${what} by process ${existing.starter.pid}`, {
      remedy: 'Wait for it, or end it with: dctl lab down',
    })
  }
  await removeRemains(options)
  const state = reserve(wanted)
  await build(state, options)
  writeJson(places.state, { ...state, phase: 'up' })
  return { state: { ...state, phase: 'up' }, alreadyUp: false }
}

/** Settings for booting a node of a lab. */
export function nodeMachine(
  name: string,
  {
    rate,
    driveSize,
    driveIops,
    bare,
    kubernetes,
    planes,
  }: Pick<LabState, 'rate' | 'driveSize' | 'driveIops' | 'bare' | 'kubernetes' | 'planes'>,
): MachineSettings {
  const drive = bare && !kubernetes ? {} : { driveSize, driveIops }
  const gateway = kubernetes ? controlAddress : undefined // addresses of Services are translated on their way there
  return { name, cables: nodeCables(name, planes), rate, hasDisk: true, forKubelet: kubernetes, gateway, ...drive }
}

function nodeCables(name: string, planes: boolean): MachineSettings['cables'] {
  const address = `${nodeAddress(name)}/${managementPrefixLength}`
  const pods = { interface: cableInterface, macAddress: nodeMac(name) }
  if (!planes) return [{ ...pods, address }]
  return [
    pods,
    { interface: planeInterfaces.management, macAddress: nodeMac(name, 1), address },
    {
      interface: planeInterfaces.storage,
      macAddress: nodeMac(name, 2),
      address: `${storageAddress(name)}/${managementPrefixLength}`,
    },
  ]
}

function wantedState(options: LabOptions): LabState {
  const {
    nodes = 3,
    rate = 1e9,
    driveSize = defaultDriveSize,
    driveIops = null,
    bare = false,
    kubernetes = false,
    planes = false,
  } = options
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > mostNodes) {
    throw new InvalidInput(`a lab has 1 to ${mostNodes} nodes, not ${nodes}`, { remedy: 'Choose another number.' })
  }
  if (rate !== null && !(rate >= 1e6 && rate <= 100e9)) {
    throw new InvalidInput(`the link rate of a lab is 1M to 100G or none, not ${formatQuantity(rate)}`, {
      remedy: 'Choose another rate, such as 1G.',
    })
  }
  if (!Number.isInteger(driveSize) || driveSize < smallestDrive) {
    throw new InvalidInput(`the drives of a lab have at least ${formatQuantity(smallestDrive)}, not ${driveSize}`, {
      remedy: 'Choose a larger size, such as 4G. The files are sparse.',
    })
  }
  if (driveIops !== null && !(Number.isInteger(driveIops) && driveIops >= 100 && driveIops <= 20_000)) {
    throw new InvalidInput(`drives of a lab give 100 to 20000 operations per second when paced, not ${driveIops}`, {
      remedy: 'Choose another number, or leave it out for what the disk of this machine gives.',
    })
  }
  const names = Array.from({ length: nodes }, (_, index) => `n${index + 1}`)
  const settings = { rate, driveSize, driveIops, bare, kubernetes, planes }
  return { phase: 'starting', starter: identify(process.pid)!, nodes: names, ...settings }
}

function agreeWith(existing: LabState, wanted: LabState): LabState {
  const isSame =
    existing.nodes.length === wanted.nodes.length &&
    (['rate', 'driveSize', 'driveIops', 'bare', 'kubernetes', 'planes'] as const).every(
      (key) => existing[key] === wanted[key],
    )
  if (isSame) return existing
  const rate = existing.rate === null ? 'unlimited links' : `links of ${formatQuantity(existing.rate)}bit/s`
  const more = [
    `drives of ${formatQuantity(existing.driveSize)}${existing.driveIops === null ? '' : ` and ${existing.driveIops} IOPS`}`,
    existing.bare && 'bare',
    existing.kubernetes && 'with Kubernetes',
    existing.planes && 'with planes',
  ]
  throw new Conflict(
    `another lab is up already: ${existing.nodes.length} nodes, ${rate}, ${more.filter(Boolean).join(', ')}`,
    {
      remedy: 'Use it as it is, or remove it first with: dctl lab down',
    },
  )
}

async function removeRemains({ onProgress }: LabOptions): Promise<void> {
  if (describeLeftovers(await findLeftovers()).length === 0) return
  onProgress?.('removing what an interrupted lab left')
  await takeLabDown()
}

/** Creating the directory is what decides between two that start at the same moment. */
function reserve(state: LabState): LabState {
  try {
    mkdirSync(labDirectory, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new Conflict('another process starts a lab at this moment', { remedy: 'See: dctl lab status' })
  }
  writeJson(places.state, state)
  mkdirSync(places.logs, { mode: 0o700 })
  mkdirSync(places.control, { mode: 0o700 })
  return state
}

async function build(state: LabState, options: LabOptions): Promise<void> {
  const steps = buildSteps(state, options)
  const { signal } = options
  try {
    // Taking the lab down makes every step that is under way fail; only then is nothing built any more.
    const interrupted = signal && new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    await (interrupted ? Promise.race([steps, interrupted]) : steps)
    signal?.throwIfAborted()
  } catch (error) {
    if (options.keepOnFailure && !signal?.aborted) throw error
    await Promise.allSettled([steps, takeLabDown()])
    await takeLabDown()
    throw error
  }
}

async function buildSteps(state: LabState, { onProgress = () => {}, signal }: LabOptions): Promise<void> {
  const step = (name: string): void => {
    signal?.throwIfAborted()
    onProgress(name)
  }
  step(`switch and ${state.nodes.length} nodes`)
  const tokens = createTokens(state.nodes)
  await Promise.all([createSwitch(), createAuthority()])
  if (state.kubernetes) return buildKubernetes(state, step)
  await allSettledOrThrow([
    ...state.nodes.map(async (node) => {
      if (!state.bare) await configureNode(node, state, tokens)
      await startMachine(nodeMachine(node, state))
    }),
    ...(state.bare ? [] : [configureControl(tokens), startMachine(controlSettings())]),
  ])
  if (state.bare) return
  step('control')
  await startControl()
  step('agents')
  await allSettledOrThrow(state.nodes.map((node) => startAgent(node)))
  step('nodes to be Ready')
  await waitForReadyNodes(state.nodes, signal)
  await waitForDrives(state.nodes, signal)
}

/** Machines with Kubernetes on them; what is installed into it, the network plugin too, comes afterwards. */
async function buildKubernetes(state: LabState, step: (name: string) => void): Promise<void> {
  step('programs and images of Kubernetes')
  await prepareKubernetes(state.nodes)
  step('machines')
  const machines = [controlSettings(), ...state.nodes.map((node) => nodeMachine(node, state))]
  await allSettledOrThrow(machines.map((machine) => startMachine(machine)))
  await startKubernetes(state.nodes, step)
  if (state.bare) return
  step('Carbonado, by its chart')
  await installCarbonado(state.rate === null ? {} : { 'agent.uplink.rate': String(state.rate) })
  step('nodes to be Ready')
  await Promise.all([configureSchedulerExtender(state.nodes), waitForReadyKubernetesNodes()])
}

function controlSettings(): MachineSettings {
  const address = `${controlAddress}/${managementPrefixLength}`
  const cable = { interface: cableInterface, macAddress: '0a:77:00:00:01:00', address }
  return { name: controlMachine, cables: [cable], rate: null, hasDisk: false }
}

/** Waits until control says that these nodes are Ready. Throws Unavailable naming those that are not. */
export async function waitForReadyNodes(nodes: string[], signal?: AbortSignal, deadline = 60_000): Promise<void> {
  const store = new RestStore(labConnection()!)
  let waiting = nodes
  try {
    await waitFor(
      'all nodes to be Ready',
      async () => {
        signal?.throwIfAborted()
        const { items } = await store.list(Node)
        const ready = items.filter(({ status }) => status?.ready?.state).map(({ metadata }) => metadata.name)
        waiting = nodes.filter((node) => !ready.includes(node))
        return waiting.length === 0
      },
      { deadline, interval: 50 },
    )
  } catch (error) {
    if (error instanceof Error && waiting.length > 0) error.message += ` (not Ready: ${waiting.join(', ')})`
    throw error
  } finally {
    await store.close()
  }
}

/** Waits until each node has told of its drive: what is done with all drives then misses none. */
async function waitForDrives(nodes: string[], signal?: AbortSignal): Promise<void> {
  const store = new RestStore(labConnection()!)
  const areKnown = async (): Promise<boolean> => {
    signal?.throwIfAborted()
    const { items } = await store.list(Drive)
    const known = items.filter(({ status }) => status?.agent).map(({ spec }) => spec.nodeName)
    return nodes.every((node) => known.includes(node))
  }
  await waitFor('the drives of all nodes', areKnown, { deadline: 60_000, interval: 50 }).finally(() => store.close())
}

/** Waits for all even when one fails, so that nothing goes on behind the caller's back. */
async function allSettledOrThrow(tasks: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(tasks)).find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
