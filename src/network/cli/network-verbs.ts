import { Command } from 'commander'
import { Network } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import {
  annotationsFlag,
  changeCurrent,
  collectList,
  explainUnused,
  integerFlag,
  printChanged,
  printList,
  printNamed,
  type VerbContext,
  type VerbHost,
} from '../../verb/index.ts'
import { networkColumns } from './network-columns.ts'
import { extendedSubnets, networkOf, type NetworkCreateFlags } from './network-flags.ts'
import { addTraceVerb } from './trace-verb.ts'

interface NetworkUpdateFlags {
  setDefault?: boolean
  clearDefault?: boolean
  networkGroup?: string
  selectors?: string[]
  perfTier?: string
  end?: string[]
}

const changeFlags = ['setDefault', 'clearDefault', 'networkGroup', 'perfTier', 'end'] as const

const laterSelectors =
  '--selectors is understood and has no effect: networks are not yet limited to nodes by label. Use the VLAN trunks of the nodes.'

/** Adds `network create|get|list|update|trace|delete`. */
export function addNetworkVerbs(program: Command, host: VerbHost): void {
  const network = program.command('network').alias('net').description('L2 networks: subnets, ranges and VLANs')
  addCreate(network, host)
  network
    .command('get')
    .description('show networks by name')
    .argument('<name...>', 'names of networks')
    .action(host.run(getNetworks))
    .addHelpText('after', '\nExample:\n  $ dctl network get blue -o yaml\n')
  network
    .command('list')
    .alias('ls')
    .description('list networks with their use of addresses')
    .option('--type <type>', 'only pods or only storage networks')
    .action(host.run(listNetworks))
    .addHelpText('after', '\nExample:\n  $ dctl network list -o wide\n')
  addUpdate(network, host)
  addTraceVerb(network, host)
  network
    .command('delete')
    .description('delete networks that no endpoint uses')
    .argument('<name...>', 'names of networks')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteNetworks))
    .addHelpText('after', '\nExample:\n  $ dctl network delete blue -y\n')
}

function addCreate(network: Command, host: VerbHost): void {
  network
    .command('create')
    .description('create a network')
    .argument('<name>', 'name of the network')
    .requiredOption('-s, --subnet <cidr>', 'subnet; one per IP family, repeated or with a comma', collectList)
    .option('--start <address>', 'first address to hand out, one per IP family', collectList)
    .option('--end <address>', 'last address to hand out, one per IP family', collectList)
    .option('-g, --gateway <address>', 'default route of the endpoints, one per IP family', collectList)
    .option(
      '-v, --vlan <id>',
      'VLAN of the frames, 1 to 4094; without it they are untagged',
      integerFlag('--vlan', 1, 4094),
    )
    .option('-p, --perf-tier <name>', 'tier of endpoints that name none')
    .option('-n, --network-group <name>', 'group that the network belongs to')
    .option('-z, --zone <name>', 'zone of the network')
    .option('--type <type>', 'pods (the default) or storage')
    .option(
      '--mtu <bytes>',
      'MTU of the endpoints; without it what the uplink carries',
      integerFlag('--mtu', 1280, 65535),
    )
    .option('--set-default', 'use it for containers that ask for no network by name')
    .option('--secondary', 'only for further interfaces of pods: its subnets may overlap those of other networks')
    .option('-a, --annotations <key=value>', 'annotation of the object, may be repeated', annotationsFlag)
    .option('--gateway-mac <mac>', 'understood, has no effect: the gateway is found by ARP and ND')
    .option('--sel, --selectors <selectors>', 'understood, has no effect yet', collectList)
    .option('--host-network', 'understood, has no effect: nodes keep their own addresses')
    .action(host.run(createNetwork))
    .addHelpText(
      'after',
      `
Examples:
  $ dctl network create blue -s 10.30.0.0/24 --start 10.30.0.10 --end 10.30.0.200 -g 10.30.0.1 -v 100
  $ dctl network create dual -s 10.31.0.0/24,fd00:31::/64 -g 10.31.0.1,fd00:31::1 -v 101
`,
    )
}

function addUpdate(network: Command, host: VerbHost): void {
  network
    .command('update')
    .description('change a network')
    .argument('<name>', 'name of the network')
    .option('--set-default', 'use it for containers that ask for no network by name')
    .option('--clear-default', 'have no default network')
    .option('-n, --network-group <name>', 'group that the network belongs to; "" for none')
    .option('-p, --perf-tier <name>', 'tier of endpoints that name none; "" for none')
    .option('--end <address>', 'extend the range to this address, one per IP family', collectList)
    .option('--sel, --selectors <selectors>', 'understood, has no effect yet', collectList)
    .action(host.run(updateNetwork))
    .addHelpText('after', '\nExample:\n  $ dctl network update blue --end 10.30.0.250\n')
}

async function createNetwork(context: VerbContext, [name]: string[], flags: NetworkCreateFlags): Promise<void> {
  const wanted = networkOf(name!, flags)
  explainUnused(context, flags, {
    gatewayMac: '--gateway-mac is understood and has no effect: endpoints find the gateway by ARP and ND.',
    selectors: laterSelectors,
    hostNetwork: '--host-network is understood and has no effect: nodes keep the addresses they have.',
  })
  const created = await (await context.store()).create(Network, wanted)
  await printChanged(context, created, `network ${created.metadata.name} created`)
}

async function getNetworks(context: VerbContext, names: string[]): Promise<void> {
  const store = await context.store()
  const networks = await Promise.all(names.map((name) => store.get(Network, { name })))
  await printNamed(context, Network, networks, networkColumns)
}

async function listNetworks(context: VerbContext, _names: string[], flags: { type?: string }): Promise<void> {
  const plane = flags.type === 'public' ? 'pods' : flags.type
  if (plane !== undefined && plane !== 'pods' && plane !== 'storage') {
    throw new InvalidInput(`--type "${plane}" is not a type of network`, { remedy: 'Use pods or storage.' })
  }
  const { items } = await (await context.store()).list(Network)
  const shown = items.filter(({ spec }) => plane === undefined || spec.plane === plane)
  await printList(context, Network, shown, networkColumns)
}

async function updateNetwork(context: VerbContext, [name]: string[], flags: NetworkUpdateFlags): Promise<void> {
  if (flags.setDefault && flags.clearDefault) {
    throw new InvalidInput('--set-default and --clear-default exclude each other', { remedy: 'Give one of them.' })
  }
  explainUnused(context, flags, { selectors: laterSelectors })
  if (changeFlags.every((flag) => flags[flag] === undefined)) {
    if (flags.selectors !== undefined) return
    throw new InvalidInput('nothing to change was given', { remedy: 'See `dctl network update --help`.' })
  }
  const store = await context.store()
  changesOf(await store.get(Network, { name: name! }), flags) // refuse what is wrong before anything changes
  const former = flags.setDefault ? await clearFormerDefault(store, name!) : undefined
  const changed = await updateOrRestore(store, name!, flags, former)
  if (former) context.note(`note: network ${former.metadata.name} is no longer the default`)
  await printChanged(context, changed, `network ${name} updated`)
}

/** The merge patch of spec that the flags ask for. */
function changesOf(existing: Network, flags: NetworkUpdateFlags): object {
  return {
    ...(flags.setDefault ? { isDefault: true } : {}),
    ...(flags.clearDefault ? { isDefault: false } : {}),
    ...(flags.networkGroup === undefined ? {} : { networkGroup: flags.networkGroup || null }),
    ...(flags.perfTier === undefined ? {} : { perfTierName: flags.perfTier || null }),
    ...(flags.end === undefined ? {} : { subnets: extendedSubnets(existing, flags.end) }),
  }
}

async function clearFormerDefault(store: ResourceStore, name: string): Promise<Network | undefined> {
  const { items } = await store.list(Network)
  const former = items.find((other) => other.spec.isDefault && other.metadata.name !== name)
  if (former) await store.patch(Network, { name: former.metadata.name }, { spec: { isDefault: false } })
  return former
}

/** Patches the network; a former default gets its place back when that fails. */
async function updateOrRestore(
  store: ResourceStore,
  name: string,
  flags: NetworkUpdateFlags,
  former: Network | undefined,
): Promise<Network> {
  try {
    return await changeCurrent(store, Network, { name }, (current) => {
      const { resourceVersion } = current.metadata
      return store.patch(Network, { name }, { spec: changesOf(current, flags) }, { resourceVersion })
    })
  } catch (error) {
    if (former) await store.patch(Network, { name: former.metadata.name }, { spec: { isDefault: true } })
    throw error
  }
}

async function deleteNetworks(context: VerbContext, names: string[], flags: { assumeYes?: boolean }): Promise<void> {
  await context.confirm(`Delete network${names.length > 1 ? 's' : ''} ${names.join(', ')}?`, flags.assumeYes)
  const store = await context.store()
  for (const name of names) {
    const deleted = await store.delete(Network, { name })
    await printChanged(context, deleted, `network ${name} deleted`)
  }
}
