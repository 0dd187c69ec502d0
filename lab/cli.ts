import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Command } from 'commander'
import { parseQuantity } from '../src/api/index.ts'
import { Conflict, InvalidInput } from '../src/base/index.ts'
import { containerLog, findContainer, removeContainer, startContainer, type Container } from './containers.ts'
import { takeLabDown } from './down.ts'
import { onHost } from './hosts.ts'
import { hostKubeconfig, kubectlCommand } from './kubernetes/index.ts'
import { Lab } from './lab.ts'
import { requireRoot } from './requirements.ts'
import { containerStates, hostStates, requireLab } from './state.ts'
import { labStatus, statusText } from './status.ts'
import { bringLabUp } from './up.ts'

/** Adds `lab` and its verbs to a program. */
export function addLabCommand(program: Command): void {
  const lab = program
    .command('lab')
    .description('A cluster of virtual nodes on this machine, to try Carbonado and to develop it. Needs root.')
  addUp(lab)
  addStatus(lab)
  addRun(lab)
  addHostVerb(lab)
  addExec(lab)
  addKubectl(lab)
  addPower(lab)
  addRemove(lab)
  addDown(lab)
  lab.addHelpText('after', examples)
}

const examples = `
Examples:
  $ dctl lab up --nodes 3 --rate 1G
  $ dctl network create blue -s 10.30.0.0/24 --start 10.30.0.10 --end 10.30.0.200 -g 10.30.0.1 -v 100
  $ dctl lab host gateway --vlan 100 --address 10.30.0.1/24
  $ dctl lab run n1 web --network blue -- python3 -m http.server 80
  $ dctl lab run n2 client --network blue --perf-tier high
  $ dctl lab exec client -- ping -c 3 10.30.0.10
  $ dctl lab kill n1 && dctl lab start n1
  $ dctl lab up --kubernetes && dctl lab kubectl -- get pods -A
  $ dctl lab down
`

interface UpOptions {
  nodes: string
  rate: string
  driveSize: string
  driveIops?: string
  bare?: boolean
  kubernetes?: boolean
  planes?: boolean
  keep?: boolean
}

function addUp(lab: Command): void {
  lab
    .command('up')
    .description('start a lab; the same one that is up already is left as it is')
    .option('--nodes <number>', 'number of nodes', '3')
    .option('--rate <rate>', 'link rate of each node such as 1G, or "none" for no limit', '1G')
    .option('--drive-size <size>', 'size of the drive for volumes of each node; the files are sparse', '4Gi')
    .option('--drive-iops <number>', 'operations per second of each drive, which is then in memory')
    .option('--bare', 'only switch and nodes, or Kubernetes on them, without control and agents')
    .option('--kubernetes', 'with Kubernetes on the nodes')
    .option('--planes', 'with interfaces of their own for management and storage')
    .option('--keep', 'leave what was built when something fails, to look at its logs')
    .action(async (options: UpOptions) => {
      const started = Date.now()
      const interruption = interruptible()
      const { state, alreadyUp } = await bringLabUp({
        nodes: Number(options.nodes),
        rate: options.rate === 'none' ? null : parseQuantity(options.rate, 'link rate'),
        driveSize: parseQuantity(options.driveSize, 'drive size'),
        driveIops: options.driveIops === undefined ? null : parseQuantity(options.driveIops, 'drive IOPS'),
        bare: options.bare ?? false,
        kubernetes: options.kubernetes ?? false,
        planes: options.planes ?? false,
        keepOnFailure: options.keep ?? false,
        signal: interruption,
        onProgress: progressSince(started),
      })
      if (alreadyUp) print('The lab is up already. See: dctl lab status')
      else print(`The lab is up: ${state.nodes.join(', ')} (${secondsSince(started)}). Remove it with: dctl lab down`)
      if (state.kubernetes) print(`Use it from here with: export KUBECONFIG=${hostKubeconfig}`)
    })
}

function addStatus(lab: Command): void {
  lab
    .command('status')
    .description('show nodes, hosts and containers')
    .action((_options: object, command: Command) => {
      requireRoot()
      const { output } = command.optsWithGlobals<{ output?: string }>()
      print(output === 'json' ? JSON.stringify(labStatus(), undefined, 2) : statusText(labStatus()))
    })
}

interface RunOptions {
  namespace?: string
  network?: string
  perfTier?: string
  endpoint?: string
  cap?: string[]
  volume?: string[]
}

function addRun(lab: Command): void {
  lab
    .command('run <node> <name> [command...]')
    .description('start a container on a node; it sleeps unless a command is given after --')
    .option('--namespace <name>', 'namespace of its pod')
    .option('--network <name>', 'network of its interface')
    .option('--perf-tier <name>', 'performance tier of its interface')
    .option('--endpoint <name>', 'static endpoint that it is to hold')
    .option('--volume <name:path>', 'volume of this node and where the container sees it; may be repeated', collect)
    .option('--cap <capability>', 'another capability, such as NET_RAW; may be repeated', collect)
    .action(async (node: string, name: string, words: string[], options: RunOptions) => {
      requireUp()
      const { namespace, network, perfTier, endpoint: endpointId, cap: capabilities, volume: volumes } = options
      const command = words.length > 0 ? words : undefined
      const asked = { namespace, network, perfTier, endpointId, capabilities, volumes, command }
      const container = await startContainer({ node, name, ...asked })
      print(`${name} runs on ${node}: ${container.addresses.join(', ')} ${container.mac}`)
      if (command) print(`What it prints goes to ${containerLog(name)}`)
    })
}

function addHostVerb(lab: Command): void {
  lab
    .command('host <name>')
    .description('plug a host outside the cluster into an access port of the switch, such as a gateway')
    .requiredOption('--vlan <id>', 'VLAN of the port; 0 is untagged')
    .requiredOption('--address <cidr>', 'address with prefix length; may be repeated', collect)
    .option('--gateway <address>', 'its default gateway')
    .action(async (name: string, options: { vlan: string; address: string[]; gateway?: string }) => {
      requireUp()
      await Lab.open().addHost({ name, ...options, vlan: Number(options.vlan) })
      print(`${name} is on VLAN ${options.vlan} with ${options.address.join(', ')}`)
    })
}

function addExec(lab: Command): void {
  lab
    .command('exec <name> <command...>')
    .description('run a command in a container, on a host or on a node; its exit code is that of dctl')
    .action(async (name: string, command: string[]) => {
      requireUp()
      process.exit(await attached(commandOn(name, command)))
    })
}

function addKubectl(lab: Command): void {
  lab
    .command('kubectl [words...]')
    .description('run kubectl against the Kubernetes of the lab; its exit code is that of dctl')
    .action(async (words: string[]) => {
      requireUp()
      process.exit(await attached(kubectlCommand(words)))
    })
}

function addPower(lab: Command): void {
  lab
    .command('kill <node>')
    .description('cut the power of a node: everything in it ends at once, its disk stays')
    .option('--agent', 'kill only its agent; containers and their traffic go on')
    .action(async (node: string, { agent }: { agent?: boolean }) => {
      requireUp()
      await (agent ? Lab.open().killAgent(node) : Lab.open().killNode(node))
      print(`${agent ? `The agent of ${node}` : node} is down. Start it again with: dctl lab start ${node}`)
    })
  lab
    .command('start <node>')
    .description('boot a node that was killed, or start its agent')
    .action(async (node: string) => {
      requireUp()
      await Lab.open().startNode(node)
      print(`${node} is up`)
    })
}

function addRemove(lab: Command): void {
  lab
    .command('rm <name...>')
    .description('kill and remove containers or hosts')
    .action(async (names: string[]) => {
      requireUp()
      for (const name of names) {
        await (hostStates.has(name) ? Lab.open().host(name).remove() : removeContainer(name))
        print(`${name} is removed`)
      }
    })
}

function addDown(lab: Command): void {
  lab
    .command('down')
    .description('remove everything of the lab, in whatever state it is')
    .action(async () => {
      requireRoot()
      const onProgress = progressSince(Date.now())
      print((await takeLabDown({ onProgress })) ? 'The lab is down; nothing of it is left.' : 'There is no lab.')
    })
}

/** Tells steps with the seconds that went by. */
function progressSince(started: number): (step: string) => void {
  return (step) => process.stderr.write(`${secondsSince(started).padStart(7)}  ${step}\n`)
}

function secondsSince(started: number): string {
  return `${((Date.now() - started) / 1000).toFixed(1)} s`
}

function requireUp(): void {
  requireRoot()
  requireLab()
}

/** A container, a host or a node, in this order. */
function commandOn(name: string, command: string[]): [string, ...string[]] {
  const lab = Lab.open()
  if (containerStates.has(name)) return inContainer(findContainer(name), command)
  if (hostStates.has(name)) return onHost(name, command)
  if (lab.nodes.includes(name)) return lab.nodeCommand(name, command)
  throw new InvalidInput(`the lab has no container, host or node "${name}"`, {
    remedy: 'See what there is with: dctl lab status',
  })
}

function inContainer(container: Container, command: string[]): [string, ...string[]] {
  if (container.isRunning) return container.execCommand(command, { terminal: process.stdin.isTTY })
  throw new Conflict(`container ${container.name} has ended`, {
    remedy: `What it printed is in ${containerLog(container.name)}. Remove it with: dctl lab rm ${container.name}`,
  })
}

/** Runs a command on this terminal and returns its exit code, 128 and the number of the signal that ended it. */
function attached([file, ...args]: [string, ...string[]]): Promise<number> {
  const ignore = (): void => {} // Ctrl-C is for the command
  process.on('SIGINT', ignore)
  const child = spawn(file, args, { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', ignore)
      resolve(code ?? 128 + constants.signals[signal!])
    })
  })
}

/** A signal that aborts at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
function interruptible(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      process.stderr.write('\nInterrupted: removing what was built. Once more to leave it to: dctl lab down\n')
      controller.abort(new InvalidInput('the start of the lab was interrupted', { remedy: 'Nothing of it is left.' }))
    })
  }
  return controller.signal
}

function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, value]
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
