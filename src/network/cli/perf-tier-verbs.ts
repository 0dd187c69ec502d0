import type { Command } from 'commander'
import { formatQuantity, parseQuantity, PerfTier, type Quantity } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { checkTier } from '../../guarantee/index.ts'
import { mergePatch } from '../../store/index.ts'
import {
  changeCurrent,
  formatLabels,
  labelsFlag,
  printChanged,
  printList,
  printNamed,
  quantityFlag,
  type Column,
  type VerbContext,
  type VerbHost,
} from '../../verb/index.ts'

/** Flags of `perf-tier create`, quantities as the user wrote them. */
export interface PerfTierFlags {
  storageIops?: string
  maxStorageIops?: string
  networkBw?: string
  maxNetworkBw?: string
  labels?: Record<string, string>
}

function quantity(value: Quantity | undefined): string | undefined {
  return value === undefined ? undefined : formatQuantity(parseQuantity(value))
}

/** Columns of `perf-tier list` and `perf-tier get`, as published. Bandwidth in bits per second; `-` is no cap. */
export const perfTierColumns: Column<PerfTier>[] = [
  { header: 'NAME', value: ({ metadata }) => metadata.name },
  { header: 'STORAGE-IOPS', value: ({ spec }) => quantity(spec.storageIops ?? 0) },
  { header: 'NETWORK-BANDWIDTH', value: ({ spec }) => quantity(spec.networkBandwidth ?? 0) },
  { header: 'MAX-STORAGE-IOPS', value: ({ spec }) => quantity(spec.maxStorageIops) },
  { header: 'MAX-NETWORK-BANDWIDTH', value: ({ spec }) => quantity(spec.maxNetworkBandwidth) },
  { header: 'LABELS', value: ({ metadata }) => formatLabels(metadata.labels) },
]

/** Adds `perf-tier create|get|list|update|delete`. */
export function addPerfTierVerbs(program: Command, host: VerbHost): void {
  const tier = program.command('perf-tier').description('performance tiers: floors that are promised and caps')
  tier
    .command('create')
    .description('create a tier; floors are promised, caps (max) never exceeded')
    .argument('<name>', 'name of the tier')
    .option('-i, --storage-iops <number>', 'IOPS promised to a volume', quantityFlag('--storage-iops'))
    .option('-I, --max-storage-iops <number>', 'most IOPS of a volume', quantityFlag('--max-storage-iops'))
    .option('-b, --network-bw <bits/s>', 'bandwidth promised to an interface, each way', quantityFlag('--network-bw'))
    .option('-B, --max-network-bw <bits/s>', 'most bandwidth each way', quantityFlag('--max-network-bw'))
    .option('-l, --labels <key=value>', 'labels of the object, may be repeated', labelsFlag('--labels'))
    .action(host.run(createTier))
    .addHelpText('after', '\nExample:\n  $ dctl perf-tier create gold -i 1k -I 10K -b 0.5G -B 2G\n')
  tier
    .command('get')
    .description('show tiers by name')
    .argument('<name...>', 'names of tiers')
    .action(host.run(getTiers))
    .addHelpText('after', '\nExample:\n  $ dctl perf-tier get gold\n')
  tier
    .command('list')
    .alias('ls')
    .description('list tiers')
    .action(host.run(listTiers))
    .addHelpText('after', '\nExample:\n  $ dctl perf-tier list\n')
  tier
    .command('update')
    .description('change a tier; what is attached gets the new floors and caps at once, without losing a frame')
    .argument('<name>', 'name of the tier')
    .option('-i, --storage-iops <number>', 'IOPS promised to a volume', quantityFlag('--storage-iops'))
    .option(
      '-I, --max-storage-iops <number>',
      'most IOPS of a volume; 0 for no cap',
      quantityFlag('--max-storage-iops'),
    )
    .option('-b, --network-bw <bits/s>', 'bandwidth promised to an interface, each way', quantityFlag('--network-bw'))
    .option('-B, --max-network-bw <bits/s>', 'most bandwidth each way; 0 for no cap', quantityFlag('--max-network-bw'))
    .option('-l, --labels <key=value>', 'labels to add or change, may be repeated', labelsFlag('--labels'))
    .action(host.run(updateTier))
    .addHelpText('after', '\nExample:\n  $ dctl perf-tier update gold -b 0.8G -B 0\n')
  tier
    .command('delete')
    .description('delete tiers that nothing uses')
    .argument('<name...>', 'names of tiers')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteTiers))
    .addHelpText('after', '\nExample:\n  $ dctl perf-tier delete gold -y\n')
}

/** The tier that `perf-tier create NAME` describes. Throws InvalidInput when a cap is below its floor. */
export function perfTierOf(name: string, flags: PerfTierFlags): PerfTier {
  const tier: PerfTier = {
    metadata: { name, ...(flags.labels ? { labels: flags.labels } : {}) },
    spec: {
      ...(flags.storageIops === undefined ? {} : { storageIops: flags.storageIops }),
      ...(flags.maxStorageIops === undefined ? {} : { maxStorageIops: flags.maxStorageIops }),
      ...(flags.networkBw === undefined ? {} : { networkBandwidth: flags.networkBw }),
      ...(flags.maxNetworkBw === undefined ? {} : { maxNetworkBandwidth: flags.maxNetworkBw }),
    },
  }
  checkTier(tier)
  return tier
}

async function createTier(context: VerbContext, [name]: string[], flags: PerfTierFlags): Promise<void> {
  const wanted = perfTierOf(name!, flags)
  const created = await (await context.store()).create(PerfTier, wanted)
  await printChanged(context, created, `perf-tier ${name} created`)
}

/** The changes that `perf-tier update` asks for; a cap of 0 goes. Throws InvalidInput when there are none. */
function tierChanges(flags: PerfTierFlags): { metadata?: object; spec?: object } {
  const cap = (value: string): string | null => (parseQuantity(value) === 0 ? null : value)
  const spec = {
    ...(flags.storageIops === undefined ? {} : { storageIops: flags.storageIops }),
    ...(flags.maxStorageIops === undefined ? {} : { maxStorageIops: cap(flags.maxStorageIops) }),
    ...(flags.networkBw === undefined ? {} : { networkBandwidth: flags.networkBw }),
    ...(flags.maxNetworkBw === undefined ? {} : { maxNetworkBandwidth: cap(flags.maxNetworkBw) }),
  }
  if (Object.keys(spec).length === 0 && !flags.labels) {
    throw new InvalidInput('nothing to change was given', { remedy: 'See `dctl perf-tier update --help`.' })
  }
  return { ...(flags.labels ? { metadata: { labels: flags.labels } } : {}), spec }
}

async function updateTier(context: VerbContext, [name]: string[], flags: PerfTierFlags): Promise<void> {
  const changes = tierChanges(flags)
  const store = await context.store()
  const changed = await changeCurrent(store, PerfTier, { name: name! }, (current) => {
    const { resourceVersion } = current.metadata
    checkTier(mergePatch(current, changes) as PerfTier)
    return store.patch(PerfTier, { name: name! }, changes, { resourceVersion })
  })
  await printChanged(context, changed, `perf-tier ${name} updated`)
}

async function getTiers(context: VerbContext, names: string[]): Promise<void> {
  const store = await context.store()
  const tiers = await Promise.all(names.map((name) => store.get(PerfTier, { name })))
  await printNamed(context, PerfTier, tiers, perfTierColumns)
}

async function listTiers(context: VerbContext): Promise<void> {
  const { items } = await (await context.store()).list(PerfTier)
  await printList(context, PerfTier, items, perfTierColumns)
}

async function deleteTiers(context: VerbContext, names: string[], flags: { assumeYes?: boolean }): Promise<void> {
  await context.confirm(`Delete perf-tier${names.length > 1 ? 's' : ''} ${names.join(', ')}?`, flags.assumeYes)
  const store = await context.store()
  for (const name of names) {
    const deleted = await store.delete(PerfTier, { name })
    await printChanged(context, deleted, `perf-tier ${name} deleted`)
  }
}
