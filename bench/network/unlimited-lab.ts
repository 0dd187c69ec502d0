import { existsSync } from 'node:fs'
import { exec, Unavailable } from '../../src/base/index.ts'
import type { Lab } from '../../lab/index.ts'
import { startMachine } from '../../lab/machines.ts'
import { createNetns } from '../../lab/netns.ts'
import { places } from '../../lab/places.ts'
import { insideMachine, insideNetns } from '../../lab/processes.ts'
import { machinePid } from '../../lab/state.ts'
import { cableInterface, connectPort } from '../../lab/switch.ts'
import type { RunContext } from '../suite.ts'
import { createNetwork, createTier, freshLab } from './fresh-lab.ts'
import { carbonadoPlugins, Runtime, type PluginSet } from './runtime.ts'

/**
 * A lab whose links nothing limits, with what Carbonado is compared with in it: two further machines on the same switch
 * that use the standard bridge plugin, two namespaces plugged into the switch, and two joined by a bare veth.
 */
export interface UnlimitedLab {
  lab: Lab
  /** Runtimes of n1 to n4; floors are promised on n3 and n4 only, since a node with none has no shaper. */
  carbonado: Runtime[]
  /** Runtimes of b1 and b2, with the bridge plugin alone. */
  bridge: Runtime[]
  /** A runtime of b1 with the chain that clusters use: bridge with host-local, then bandwidth. */
  bridgeWithBandwidth: Runtime
}

/** A namespace without anything of Carbonado. */
export interface BareEnd {
  netns: string
  address: string
}

/** Network that untiered and tiered endpoints are in. */
export const rawNetwork = 'raw'

/**
 * Tiers with floor and cap above the flow: of the sender, and of the receiver, which only sends acknowledgements and
 * answers. Together they fit on one node, whose link counts as 100 Gbit/s.
 */
export const promisedTiers = {
  client: { name: 'promised-client', floor: 90e9, cap: 98e9 },
  server: { name: 'promised-server', floor: 2e9, cap: 98e9 },
}

/** Tier for comparison with the bandwidth plugin, in bits per second. */
export const limitedTier = { name: 'limited', floor: 100e6, cap: 1e9 }

/** Where Debian puts the standard plugins. */
const standardPlugins = '/usr/lib/cni'

/** Network of the bridge machines: both bridges are one L2 network, so their ranges differ. */
const bridgeSubnet = '10.200.0.0/16'

/** Builds it. */
export async function openUnlimitedLab(context: RunContext): Promise<UnlimitedLab> {
  const lab = await freshLab(null, context, 4)
  await createNetwork(lab, rawNetwork, 100)
  for (const { name, floor, cap } of [promisedTiers.client, promisedTiers.server, limitedTier]) {
    await createTier(lab, name, floor, cap)
  }
  await Promise.all([1, 2].map((number) => startBridgeMachine(number)))
  await createBareEnds()
  return {
    lab,
    carbonado: lab.nodes.map((node) => new Runtime(node, carbonadoPlugins)),
    bridge: [1, 2].map((number) => new Runtime(`b${number}`, bridgePlugins(number))),
    bridgeWithBandwidth: new Runtime('b1', bridgePlugins(1, { bandwidth: true })),
  }
}

/** Takes it down. */
export async function closeUnlimitedLab({ lab, carbonado, bridge, bridgeWithBandwidth }: UnlimitedLab): Promise<void> {
  for (const runtime of [...carbonado, ...bridge, bridgeWithBandwidth]) runtime.end()
  await lab.down()
}

/** Throws Unavailable when the plugins to compare with are not installed. */
export function requireStandardPlugins(): void {
  const missing = ['bridge', 'host-local', 'bandwidth'].filter((plugin) => !existsSync(`${standardPlugins}/${plugin}`))
  if (missing.length === 0) return
  throw new Unavailable(
    `the standard CNI plugins to compare with are not in ${standardPlugins}: ${missing.join(', ')}`,
    {
      remedy: 'Install them with: apt-get install containernetworking-plugins',
    },
  )
}

/** The bare ends: on one machine, and plugged into the switch. */
export const bareEnds = {
  same: [bareEnd('veth-a', '10.201.0.1'), bareEnd('veth-b', '10.201.0.2')],
  across: [bareEnd('cable-a', '10.202.0.1'), bareEnd('cable-b', '10.202.0.2')],
} as const

function bareEnd(name: string, address: string): BareEnd {
  return { netns: places.hostNetns(name), address }
}

async function createBareEnds(): Promise<void> {
  const { same, across } = bareEnds
  for (const { netns } of [...same, ...across]) await createNetns(netns)
  await ipBatch(same[0].netns, [
    `link add ${cableInterface} type veth peer name ${cableInterface} netns ${same[1].netns}`,
  ])
  for (const [index, { netns }] of across.entries()) {
    await connectPort({ name: `bare${index}`, netns, macAddress: `02:cb:be:00:00:0${index}`, rate: null, vlan: 0 })
  }
  for (const { netns, address } of [...same, ...across]) {
    await ipBatch(netns, [`address add ${address}/24 dev ${cableInterface}`, `link set ${cableInterface} up`])
  }
}

/** A machine whose uplink is a port of its bridge, as is usual where containers are on the network of the data centre. */
async function startBridgeMachine(number: number): Promise<void> {
  const name = `b${number}`
  const address = `10.77.0.${200 + number}/24`
  const cable = { interface: cableInterface, macAddress: `0a:77:00:00:02:0${number}`, address }
  await startMachine({ name, cables: [cable], rate: null, hasDisk: true })
  const lines = ['link add cni0 type bridge', `link set ${cableInterface} master cni0`, 'link set cni0 up']
  const commands = `ip -batch - && for file in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$file" ] || echo 0 > "$file"; done`
  await exec(insideMachine(machinePid(name), ['sh', '-c', commands]), { input: `${lines.join('\n')}\n` })
}

function bridgePlugins(number: number, { bandwidth = false } = {}): PluginSet {
  const range = { subnet: bridgeSubnet, rangeStart: `10.200.${number}.1`, rangeEnd: `10.200.${number}.250` }
  const bridge = { type: 'bridge', bridge: 'cni0', ipam: { type: 'host-local', ranges: [[range]] } }
  const limits = { type: 'bandwidth', capabilities: { bandwidth: true } }
  return {
    chain: { cniVersion: '1.0.0', name: 'baseline', plugins: bandwidth ? [bridge, limits] : [bridge] },
    folder: standardPlugins,
  }
}

async function ipBatch(netns: string, lines: string[]): Promise<void> {
  await exec(insideNetns(netns, ['ip', '-batch', '-']), { input: `${lines.join('\n')}\n` })
}
