import { Option, type Command } from 'commander'
import { Endpoint, Network } from '../../api/index.ts'
import { asCarbonadoError, Conflict } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import {
  changeCurrent,
  collectList,
  isTable,
  labelsFlag,
  onePerFamily,
  printChanged,
  printDocument,
  printList,
  printNamed,
  renderTable,
  type VerbContext,
  type VerbHost,
} from '../../verb/index.ts'
import { waitForAllocation } from './allocation-wait.ts'
import { endpointColumns, type EndpointRow } from './endpoint-columns.ts'
import { findEndpoint } from './endpoint-search.ts'
import { describeEndpoint } from './endpoint-description.ts'
import { readLiveEndpoints } from './live-endpoints.ts'
import { reportSlowness, slowReportText } from './slow-report.ts'

interface EndpointCreateFlags {
  network: string
  ip?: string[]
  labels?: Record<string, string>
  ns: string
  mac?: string
  perfTier?: string
}

interface EndpointListFlags {
  ns?: string
  network?: string
  node?: string
  selector?: string
  labels?: string
}

/** Adds `endpoint create|list|get|describe|delete`. */
export function addEndpointVerbs(program: Command, host: VerbHost): void {
  const endpoint = program.command('endpoint').alias('ep').description('interfaces of containers and VMs')
  addCreate(endpoint, host)
  endpoint
    .command('list')
    .alias('ls')
    .description('list endpoints; -o wide asks the agents for promised, delivered, attainment and drops')
    .option('--ns <namespace>', 'only this namespace (all without it)')
    .option('-n, --network <name>', 'only those on this network')
    .option('--node <name>', 'only those on this node')
    .option('-l, --selector <selector>', 'only those whose labels match, such as app=web')
    .addOption(new Option('--labels <selector>', 'the same').hideHelp())
    .action(host.run(listEndpoints))
    .addHelpText('after', '\nExample:\n  $ dctl endpoint list -n blue -o wide\n')
  endpoint
    .command('get')
    .description('show endpoints by name')
    .argument('<name...>', 'names of endpoints')
    .option('--ns <namespace>', 'their namespace', 'default')
    .action(host.run(getEndpoints))
    .addHelpText('after', '\nExample:\n  $ dctl endpoint get ep1 -o json\n')
  endpoint
    .command('describe')
    .description('tell all about an endpoint and why it is slow: promised and delivered, drops by reason, who competes')
    .argument('<name>', 'endpoint, by its name, that of its pod or container, or an address')
    .option('--ns <namespace>', 'its namespace', 'default')
    .action(host.run(describe))
    .addHelpText('after', '\nExample:\n  $ dctl endpoint describe ep1\n')
  addDelete(endpoint, host)
}

function addCreate(endpoint: Command, host: VerbHost): void {
  endpoint
    .command('create')
    .description('create a static endpoint: addresses and MAC that stay the same on every node')
    .argument('<name>', 'name of the endpoint')
    .requiredOption('-n, --network <name>', 'network of the endpoint')
    .option('-i, --ip <address>', 'address, one per IP family; any free one without it', collectList)
    .option('-l, --labels <key=value>', 'labels, may be repeated', labelsFlag('--labels'))
    .option('--ns <namespace>', 'namespace', 'default')
    .option('-p, --perf-tier <name>', 'performance tier; that of the network without it')
    .option('--mac <address>', 'MAC address; a new one without it')
    .action(host.run(createEndpoint))
    .addHelpText('after', '\nExample:\n  $ dctl endpoint create ep1 -n blue -i 10.30.0.50 -l app=web --ns default\n')
}

function addDelete(endpoint: Command, host: VerbHost): void {
  endpoint
    .command('delete')
    .description('delete static endpoints that no container holds')
    .argument('<name...>', 'names of endpoints')
    .option('--ns <namespace>', 'their namespace', 'default')
    .option('-f, --force', 'do not ask, and delete even what a container holds: it loses its interface')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteEndpoints))
    .addHelpText('after', '\nExample:\n  $ dctl endpoint delete ep1 -y\n')
}

/** The static endpoint that `endpoint create NAME` describes. Throws InvalidInput. */
export function endpointOf(name: string, flags: EndpointCreateFlags): Endpoint {
  const addresses = Object.values(onePerFamily('--ip', flags.ip))
  return {
    metadata: { name, namespace: flags.ns, ...(flags.labels ? { labels: flags.labels } : {}) },
    spec: {
      networkName: flags.network,
      isStatic: true,
      ...(addresses.length > 0 ? { addresses } : {}),
      ...(flags.mac === undefined ? {} : { macAddress: flags.mac.toLowerCase().replaceAll('-', ':') }),
      ...(flags.perfTier === undefined ? {} : { perfTierName: flags.perfTier }),
    },
  }
}

async function createEndpoint(context: VerbContext, [name]: string[], flags: EndpointCreateFlags): Promise<void> {
  const wanted = endpointOf(name!, flags)
  const store = await context.store()
  const created = await store.create(Endpoint, wanted)
  const allocation = await allocatedOrRemoved(store, created)
  const reference = { name: name!, namespace: created.metadata.namespace }
  const addresses = allocation.addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`).join(', ')
  await printChanged(
    context,
    await store.get(Endpoint, reference),
    `endpoint ${name} created: ${addresses}, MAC ${allocation.macAddress}`,
  )
}

/** What control gives; an endpoint that control refuses is taken away again, so that `create` does all or nothing. */
async function allocatedOrRemoved(
  store: ResourceStore,
  created: Endpoint,
): Promise<Awaited<ReturnType<typeof waitForAllocation>>> {
  try {
    return await waitForAllocation(store, created)
  } catch (error) {
    const { name, namespace, uid } = created.metadata
    if (asCarbonadoError(error).code !== 'Unavailable') await store.delete(Endpoint, { name, namespace }, { uid })
    throw error
  }
}

async function listEndpoints(context: VerbContext, _names: string[], flags: EndpointListFlags): Promise<void> {
  const fields = [
    ...(flags.network === undefined ? [] : [`spec.networkName=${flags.network}`]),
    ...(flags.node === undefined ? [] : [`spec.nodeName=${flags.node}`]),
  ]
  const store = await context.store()
  const { items } = await store.list(Endpoint, {
    namespace: flags.ns,
    fieldSelector: fields.join(',') || undefined,
    labelSelector: flags.selector ?? flags.labels,
  })
  if (!isTable(context)) return printList(context, Endpoint, items, [])
  await printRowsOf(context, items)
}

async function getEndpoints(context: VerbContext, names: string[], { ns }: { ns: string }): Promise<void> {
  const store = await context.store()
  const endpoints = await Promise.all(names.map((name) => store.get(Endpoint, { name, namespace: ns })))
  if (!isTable(context)) return printNamed(context, Endpoint, endpoints, [])
  await printRowsOf(context, endpoints)
}

async function printRowsOf(context: VerbContext, endpoints: Endpoint[]): Promise<void> {
  const wide = context.output === 'wide'
  const rows = await rowsOf(context, endpoints, wide)
  context.print(renderTable(endpointColumns, rows, { wide }))
}

/** Endpoints with their networks, and with live figures where wanted. */
async function rowsOf(context: VerbContext, endpoints: Endpoint[], withLive: boolean): Promise<EndpointRow[]> {
  const [networks, live] = await Promise.all([
    (await context.store()).list(Network),
    withLive ? readLiveEndpoints(context, endpoints) : undefined,
  ])
  const byName = new Map(networks.items.map((network) => [network.metadata.name, network]))
  return endpoints.map((endpoint) => ({
    endpoint,
    network: byName.get(endpoint.spec.networkName),
    live: live?.get(endpoint.metadata.uid!),
  }))
}

async function describe(context: VerbContext, [name]: string[], { ns }: { ns: string }): Promise<void> {
  const endpoint = await findEndpoint(await context.store(), name!, ns)
  const report = await reportSlowness(context, endpoint)
  if (!isTable(context)) {
    const { live = null, uplink = null, competitors, held, verdict } = report
    return printDocument(context, { endpoint, live, uplink, competitors, held, verdict })
  }
  const [row] = await rowsOf(context, [endpoint], false)
  const siblings = await siblingsOf(await context.store(), endpoint)
  const text = describeEndpoint({ ...row!, live: report.live, siblings }, context.now())
  context.print([text, ...slowReportText(report, context.now())].join('\n\n'))
}

/** The other endpoints that the container of an endpoint holds. */
async function siblingsOf(
  store: ResourceStore,
  { metadata, spec: { nodeName, holder } }: Endpoint,
): Promise<Endpoint[]> {
  if (!holder) return []
  const { items } = await store.list(Endpoint, { fieldSelector: `spec.nodeName=${nodeName}` })
  return items.filter(
    (other) => other.spec.holder?.containerId === holder.containerId && other.metadata.uid !== metadata.uid,
  )
}

async function deleteEndpoints(
  context: VerbContext,
  names: string[],
  { ns, force, assumeYes }: { ns: string; force?: boolean; assumeYes?: boolean },
): Promise<void> {
  await context.confirm(`Delete endpoint${names.length > 1 ? 's' : ''} ${names.join(', ')}?`, assumeYes ?? force)
  const store = await context.store()
  for (const name of names) {
    const reference = { name, namespace: ns }
    const deleted = await changeCurrent(store, Endpoint, reference, (current) => {
      const { uid, resourceVersion } = current.metadata
      if (force) return store.delete(Endpoint, reference, { uid })
      // this very version: a container that comes meanwhile must not lose its interface
      rejectHeld(current)
      return store.delete(Endpoint, reference, { uid, resourceVersion })
    })
    await printChanged(context, deleted, deletionText(deleted))
  }
}

/** What a container still has goes when the agent of its node has taken it away, which may be down. */
function deletionText({ metadata: { name, finalizers = [] }, spec: { nodeName } }: Endpoint): string {
  if (finalizers.length === 0) return `endpoint ${name} deleted`
  return `endpoint ${name} is marked as deleted; it goes when the agent of node ${nodeName} has detached it`
}

function rejectHeld({ metadata, spec }: Endpoint): void {
  if (!spec.holder) return
  throw new Conflict(
    `endpoint ${metadata.namespace}/${metadata.name} is held by container ${spec.holder.containerId} on node ${spec.nodeName}`,
    { remedy: 'Stop that container first. With -f the endpoint goes at once and the container loses its interface.' },
  )
}
