import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { parseQuantity, Plex, Snapshot, Volume, VolumeAttachment } from '../../api/index.ts'
import { InvalidInput, NotFound } from '../../base/index.ts'
import { formatSpace } from '../../guarantee/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import {
  changeCurrent,
  collectList,
  explainUnused,
  integerFlag,
  isTable,
  labelsFlag,
  printChanged,
  printDocument,
  printList,
  printNamed,
  quantityFlag,
  renderTable,
  type VerbContext,
  type VerbHost,
} from '../../verb/index.ts'
import { forceAnnotation } from '../force-annotation.ts'
import { isWithoutPlace, takeBack } from '../take-back.ts'
import { readLiveVolumes } from './live-volumes.ts'
import { describeVolume, volumeColumns, type VolumeRow } from './volume-columns.ts'
import { volumeOf, type SourceFacts, type VolumeCreateFlags } from './volume-flags.ts'
import { problemOf, waitFor, waitGone, type Sight } from './wait.ts'

interface VolumeUpdateFlags {
  size?: string
  mirrorCount?: number
  perfTier?: string
  selectors?: Record<string, string>
  cancel?: string
  force?: boolean
  overwrite?: boolean
  volumeuser?: string
}

interface RestoreFlags {
  latestSnapshot?: boolean
  sourceSnapshot?: string
  assumeYes?: boolean
}

/** Adds `volume create|list|get|describe|update|restore|plex-delete|delete` and those that come later. */
export function addVolumeVerbs(program: Command, host: VerbHost): void {
  const volume = program.command('volume').alias('vol').description('volumes: size, tier, snapshots to restore')
  addCreate(volume, host)
  addShow(volume, host)
  addUpdate(volume, host)
  volume
    .command('restore')
    .description('replace the content of a volume by that of a snapshot of it; the volume must not be attached')
    .argument('<name>', 'name of the volume')
    .option('-l, --latest-snapshot', 'the newest snapshot')
    .option('-s, --source-snapshot <name>', 'this snapshot')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(restoreVolume))
    .addHelpText('after', '\nExample:\n  $ dctl volume restore v1 --source-snapshot s1 -y\n')
  volume
    .command('plex-delete')
    .description('take one copy of a mirrored volume away')
    .argument('<name>', 'name of the volume')
    .argument('<plex>', 'the copy, such as p0')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deletePlex))
    .addHelpText('after', '\nExample:\n  $ dctl volume plex-delete v1 p0\n')
  volume
    .command('delete')
    .description('delete volumes that have no snapshots; what uses them must stop first')
    .argument('<name...>', 'names of volumes')
    .option('-f, --force', 'do not wait for nodes that are not Ready; what lies there is left over. Asks nothing')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteVolumes))
    .addHelpText('after', '\nExample:\n  $ dctl volume delete v1 -y\n')
  for (const verb of ['rotate-key', 'set-transit-key', 'remove-transit-key']) {
    volume
      .command(verb, { hidden: true })
      .description('not in this version: comes with encrypted volumes')
      .argument('[anything...]')
      .allowUnknownOption()
      .action(host.run(() => later(verb)))
  }
}

function addCreate(volume: Command, host: VerbHost): void {
  volume
    .command('create')
    .description('create a volume: empty, or from a snapshot or another volume')
    .argument('<name>', 'name of the volume')
    .option(
      '-s, --size <size>',
      'size such as 500M, 10G or 1Gi; from a source it is that of the source',
      quantityFlag('--size'),
    )
    .option('-p, --perf-tier <name>', 'tier: IOPS promised and cap; best effort without')
    .option('-f, --fs-type <type>', 'ext4 (the default) or xfs')
    .option('-b, --block', 'a raw block device without a filesystem')
    .option('--src <snapshot>', 'start with the content of a snapshot')
    .option('--src-volume <name>', 'start with the content of another volume')
    .option('-n, --node <name>', 'nodes that it may be on, repeated or with a comma', collectList)
    .option('--sel, --selectors <key=value>', 'only nodes with these labels', labelsFlag('--selectors'))
    .option('-l, --labels <key=value>', 'labels of the object, may be repeated', labelsFlag('--labels'))
    .option('-m, --mirror-count <number>', 'copies; only 1 in this version', integerFlag('--mirror-count', 1, 3))
    .option('-a, --alloc-ratio <ratio>', 'understood, has no effect: space is promised, not allocated')
    .option('-u, --volumeuser <kind>', 'comes with VMs')
    .option('--sec, --secure', 'comes with encrypted volumes')
    .option('--vg, --volume-group <name>', 'comes with volume groups')
    .action(host.run(createVolume))
    .addHelpText(
      'after',
      '\nExamples:\n  $ dctl volume create v1 -s 10G -p high\n  $ dctl volume create v2 --src s1 -n n2\n',
    )
}

function addShow(volume: Command, host: VerbHost): void {
  volume
    .command('list')
    .alias('ls')
    .description('list volumes with who uses them')
    .option('-l, --labels <selector>', 'only those whose labels match, such as app=db')
    .option('-n, --node <name>', 'only those on a node')
    .action(host.run(listVolumes))
    .addHelpText('after', '\nExample:\n  $ dctl volume list -o wide\n')
  volume
    .command('get')
    .description('show volumes by name')
    .argument('<name...>', 'names of volumes')
    .action(host.run(getVolumes))
    .addHelpText('after', '\nExample:\n  $ dctl volume get v1 -o yaml\n')
  volume
    .command('describe')
    .description('show everything about a volume, with its plexes')
    .argument('<name>', 'name of the volume')
    .action(host.run(describe))
    .addHelpText('after', '\nExample:\n  $ dctl volume describe v1\n')
}

function addUpdate(volume: Command, host: VerbHost): void {
  volume
    .command('update')
    .description('change a volume while it is in use')
    .argument('<name>', 'name of the volume')
    .option('-s, --size <size>', 'enlarge it to this size, with its filesystem', quantityFlag('--size'))
    .option('-p, --perf-tier <name>', 'another tier; "" for best effort')
    .option('--cancel <change>', '"resize": take back an enlargement that did not fit')
    .option('-m, --mirror-count <number>', 'copies; only 1 in this version', integerFlag('--mirror-count', 1, 3))
    .option('--sel, --selectors <key=value>', 'nodes it may be on when it is placed', labelsFlag('--selectors'))
    .option('-o, --overwrite', 'understood, has no effect: selectors are always replaced')
    .option('-f, --force', 'understood, has no effect')
    .option('-u, --volumeuser <kind>', 'comes with VMs')
    .action(host.run(updateVolume))
    .addHelpText('after', '\nExamples:\n  $ dctl volume update v1 -s 20G\n  $ dctl volume update v1 -p medium\n')
}

async function createVolume(context: VerbContext, [name]: string[], flags: VolumeCreateFlags): Promise<void> {
  explainUnused(context, flags, {
    allocRatio: '--alloc-ratio is understood and has no effect: space is promised in full and taken as it is written.',
  })
  const store = await context.store()
  const wanted = volumeOf(name!, flags, await sourceFacts(store, flags))
  await store.create(Volume, wanted)
  const volume = await untilCreated(context, store, name!)
  const { plexes, size } = volume.status!
  const place = plexes.map(({ nodeName, driveName }) => `${nodeName} (drive ${driveName})`).join(', ')
  await printChanged(context, volume, `volume ${name} created: ${formatSpace(size!)} on node ${place}`)
}

/** Create does all or nothing: a volume that fits nowhere is taken back. What only takes its time goes on. */
async function untilCreated(context: VerbContext, store: ResourceStore, name: string): Promise<Volume> {
  for (;;) {
    const volume = await waitFor(context, store, Volume, name, { what: `volume ${name}`, look: creationSight })
    const problem = isWithoutPlace(volume!) ? problemOf(volume!.status) : undefined
    if (!problem) return volume!
    if (problem.code === 'Unavailable' || (await takeBack(store, volume!))) throw problem
  }
}

function creationSight(volume: Volume): Sight {
  const { status, metadata } = volume
  if (status?.generation !== metadata.generation) return { at: 'waiting for control' }
  if (status?.phase === 'Available' || isWithoutPlace(volume)) return { done: true }
  const progress = status?.progress === undefined ? '' : ` (${Math.floor(status.progress * 100)} %)`
  return { at: `${status?.message ?? 'Pending'}${progress}` }
}

async function sourceFacts(
  store: ResourceStore,
  { src, srcVolume }: VolumeCreateFlags,
): Promise<SourceFacts | undefined> {
  if (src !== undefined) {
    const { status } = await store.get(Snapshot, { name: src })
    return { size: status?.size ?? 0, filesystem: status?.filesystem as SourceFacts['filesystem'] }
  }
  if (srcVolume === undefined) return undefined
  const { spec, status } = await store.get(Volume, { name: srcVolume })
  return { size: status?.size ?? parseQuantity(spec.size), filesystem: spec.filesystem }
}

async function listVolumes(
  context: VerbContext,
  _names: string[],
  { labels, node }: { labels?: string; node?: string },
): Promise<void> {
  const { items } = await (await context.store()).list(Volume, { labelSelector: labels })
  const shown = items.filter(
    ({ status }) => node === undefined || status?.plexes.some(({ nodeName }) => nodeName === node),
  )
  if (!isTable(context)) return printList(context, Volume, shown, [])
  await printRows(context, shown)
}

async function getVolumes(context: VerbContext, names: string[]): Promise<void> {
  const store = await context.store()
  const volumes = await Promise.all(names.map((name) => store.get(Volume, { name })))
  if (!isTable(context)) return printNamed(context, Volume, volumes, [])
  await printRows(context, volumes)
}

async function printRows(context: VerbContext, volumes: Volume[]): Promise<void> {
  const [rows, reports] = await Promise.all([
    rowsOf(await context.store(), volumes),
    context.output === 'wide' ? readLiveVolumes(context, volumes) : undefined,
  ])
  for (const row of rows) row.report = reports?.get(row.volume.metadata.name)
  context.print(renderTable(volumeColumns(context.now()), rows, { wide: context.output === 'wide' }))
}

async function rowsOf(store: ResourceStore, volumes: Volume[]): Promise<VolumeRow[]> {
  const { items } = await store.list(VolumeAttachment)
  const byName = new Map(items.map((attachment) => [attachment.metadata.name, attachment]))
  return volumes.map((volume) => ({ volume, attachment: byName.get(volume.metadata.name) }))
}

async function describe(context: VerbContext, [name]: string[]): Promise<void> {
  const store = await context.store()
  const volume = await store.get(Volume, { name: name! })
  const [plexes, snapshots, [row], reports] = await Promise.all([
    store.list(Plex, { fieldSelector: `spec.volumeName=${name}` }),
    store.list(Snapshot, { fieldSelector: `spec.volumeName=${name}` }),
    rowsOf(store, [volume]),
    readLiveVolumes(context, [volume]),
  ])
  const report = reports.get(name!)
  if (!isTable(context)) {
    const { live = null, drive = null, competitors = [] } = report ?? {}
    return printDocument(context, {
      ...{ volume, plexes: plexes.items, snapshots: snapshots.items },
      ...{ live, drive, competitors },
    })
  }
  row!.report = report
  const names = snapshots.items.map(({ metadata }) => metadata.name)
  context.print(describeVolume(row!, plexes.items, names, context.now()))
}

async function updateVolume(context: VerbContext, [name]: string[], flags: VolumeUpdateFlags): Promise<void> {
  explainUnused(context, flags, {
    overwrite: '--overwrite is understood and has no effect: selectors are always replaced.',
    force: '--force is understood and has no effect.',
  })
  if (flags.volumeuser !== undefined) {
    throw new InvalidInput('--volumeuser: volumes of VMs come with VMs', { remedy: 'Leave the flag out.' })
  }
  const store = await context.store()
  const changed = await changeCurrent(store, Volume, { name: name! }, (current) => {
    const { resourceVersion } = current.metadata
    return store.patch(Volume, { name: name! }, { spec: changesOf(current, flags) }, { resourceVersion })
  })
  const { generation } = changed.metadata
  const volume = await waitFor(context, store, Volume, name!, {
    what: `volume ${name}`,
    look: (each) => updateSight(each, generation!, flags),
  })
  const { size, perfTierName } = volume!.status!
  const tier = perfTierName === undefined ? 'best effort' : `tier ${perfTierName}`
  await printChanged(context, volume!, `volume ${name} updated: ${formatSpace(size!)}, ${tier}`)
}

function changesOf(
  { status, spec }: Volume,
  { size, perfTier, mirrorCount, selectors, cancel }: VolumeUpdateFlags,
): object {
  if (cancel !== undefined && cancel !== 'resize') {
    throw new InvalidInput(`--cancel "${cancel}" is not a change that can be taken back`, { remedy: 'Use resize.' })
  }
  if (cancel !== undefined && size !== undefined) {
    throw new InvalidInput('--cancel resize and --size exclude each other', { remedy: 'Give one of them.' })
  }
  const changes = {
    ...(size === undefined ? {} : { size }),
    ...(cancel === undefined ? {} : { size: status?.size ?? spec.size }),
    ...(perfTier === undefined ? {} : { perfTierName: perfTier || null }),
    ...(mirrorCount === undefined ? {} : { mirrorCount }),
    ...(selectors === undefined ? {} : { selector: selectors }),
  }
  if (Object.keys(changes).length > 0) return changes
  throw new InvalidInput('nothing to change was given', { remedy: 'See `dctl volume update --help`.' })
}

function updateSight({ status, spec }: Volume, generation: number, { size, perfTier }: VolumeUpdateFlags): Sight {
  if (!status || status.generation < generation) return { at: 'waiting for control' }
  const problem = problemOf(status)
  if (problem) return { problem }
  if (size !== undefined && (status.size ?? 0) < parseQuantity(spec.size)) return { at: 'growing' }
  if (perfTier !== undefined && (status.perfTierName ?? '') !== perfTier) return { at: 'changing its tier' }
  return { done: true }
}

async function restoreVolume(context: VerbContext, [name]: string[], flags: RestoreFlags): Promise<void> {
  if ((flags.sourceSnapshot === undefined) === !flags.latestSnapshot) {
    throw new InvalidInput('one of --source-snapshot and --latest-snapshot is needed', { remedy: 'Give one of them.' })
  }
  const store = await context.store()
  const snapshotName = flags.sourceSnapshot ?? (await latestSnapshot(store, name!))
  await context.confirm(`Replace the content of volume ${name} by snapshot ${snapshotName}?`, flags.assumeYes)
  const requestId = randomUUID()
  await store.patch(Volume, { name: name! }, { spec: { restore: { snapshotName, requestId } } })
  const volume = await waitFor(context, store, Volume, name!, {
    what: `volume ${name}`,
    look: ({ status }) =>
      status?.restoredRequestId === requestId ? { done: true } : { at: status?.message ?? 'being restored' },
  })
  await printChanged(context, volume!, `volume ${name} restored from snapshot ${snapshotName}`)
}

async function latestSnapshot(store: ResourceStore, volumeName: string): Promise<string> {
  const { items } = await store.list(Snapshot, { fieldSelector: `spec.volumeName=${volumeName}` })
  const ready = items.filter(({ status }) => status?.phase === 'Ready')
  const [latest] = ready.sort((one, other) => (one.status!.takenAt! < other.status!.takenAt! ? 1 : -1))
  if (latest) return latest.metadata.name
  throw new NotFound(`volume ${volumeName} has no snapshot`, { remedy: 'See `dctl snapshot list`.' })
}

async function deletePlex(context: VerbContext, [name, plex]: string[]): Promise<void> {
  const store = await context.store()
  const { status } = await store.get(Volume, { name: name! })
  const full = plex!.startsWith(`${name}.`) ? plex! : `${name}.${plex}`
  if (!status?.plexes.some((each) => each.name === full)) {
    throw new NotFound(`volume ${name} has no plex ${plex}`, { remedy: 'See `dctl volume describe`.' })
  }
  throw new InvalidInput(`${full} is the only copy of volume ${name}`, {
    remedy: 'Delete the volume with `dctl volume delete`; copies beside it come with mirrors.',
  })
}

async function deleteVolumes(
  context: VerbContext,
  names: string[],
  { force, assumeYes }: { force?: boolean; assumeYes?: boolean },
): Promise<void> {
  await context.confirm(
    `Delete volume${names.length > 1 ? 's' : ''} ${names.join(', ')}? Their data is lost.`,
    assumeYes ?? force,
  )
  const store = await context.store()
  for (const name of names) {
    if (force) await store.patch(Volume, { name }, { metadata: { annotations: { [forceAnnotation]: 'true' } } })
    const deleted = await store.delete(Volume, { name })
    await waitGone(context, store, Volume, deleted, `volume ${name}`)
    await printChanged(context, deleted, `volume ${name} deleted`)
  }
}

async function later(verb: string): Promise<void> {
  throw new InvalidInput(`dctl volume ${verb} is not in this version; it comes with encrypted volumes`, {
    remedy: 'See `dctl volume --help` for what there is.',
  })
}
