import type { Command } from 'commander'
import { Snapshot, SnapshotGroup } from '../../api/index.ts'
import { asCarbonadoError, InvalidInput } from '../../base/index.ts'
import {
  collectList,
  explainUnused,
  formatAge,
  formatLabels,
  integerFlag,
  labelsFlag,
  printChanged,
  printList,
  printNamed,
  type Column,
  type VerbContext,
  type VerbHost,
} from '../../verb/index.ts'
import { reclaimableCell, spaceCell } from './cells.ts'
import { problemOf, waitFor, waitGone, type Sight } from './wait.ts'

interface SnapshotCreateFlags {
  src: string
  labels?: Record<string, string>
  quiesce?: boolean
  mirrorCount?: number
  prefix?: string
  selectors?: string[]
}

function snapshotColumns(now: Date): Column<Snapshot>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'VOLUME', value: ({ spec }) => spec.volumeName },
    { header: 'SIZE', value: ({ status }) => (status?.size === undefined ? undefined : spaceCell(status.size)) },
    { header: 'PHASE', value: ({ status }) => status?.phase ?? 'Pending' },
    { header: 'TAKEN', value: ({ status }) => status?.takenAt },
    { header: 'OWN', value: ({ status }) => status?.usage && spaceCell(status.usage.own) },
    { header: 'SHARED', value: ({ status }) => status?.usage && spaceCell(status.usage.shared) },
    { header: 'RECLAIMABLE', value: ({ status }) => reclaimableCell(status?.usage) },
    { header: 'NODE', value: ({ status }) => status?.nodeNames?.join(',') },
    { header: 'GROUP', value: ({ spec }) => spec.groupName },
    { header: 'LABELS', value: ({ metadata }) => formatLabels(metadata.labels) },
    { header: 'AGE', value: ({ metadata }) => formatAge(metadata.creationTimestamp, now) },
    { header: 'MESSAGE', value: ({ status }) => status?.message, wide: true },
  ]
}

function groupColumns(now: Date): Column<SnapshotGroup>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'VOLUMES', value: ({ spec }) => spec.volumeNames.join(',') },
    { header: 'PHASE', value: ({ status }) => status?.phase ?? 'Pending' },
    { header: 'TAKEN', value: ({ status }) => status?.takenAt },
    { header: 'SNAPSHOTS', value: ({ status }) => status?.snapshotNames.join(',') },
    { header: 'LABELS', value: ({ metadata }) => formatLabels(metadata.labels) },
    { header: 'AGE', value: ({ metadata }) => formatAge(metadata.creationTimestamp, now) },
    { header: 'MESSAGE', value: ({ status }) => status?.message, wide: true },
  ]
}

/** Adds `snapshot create|list|get|delete`. */
export function addSnapshotVerbs(program: Command, host: VerbHost): void {
  const snapshot = program.command('snapshot').alias('snap').description('snapshots of volumes')
  snapshot
    .command('create')
    .description('take a snapshot of a volume, in use or not')
    .argument('<name>', 'name of the snapshot')
    .requiredOption('--src <volume>', 'the volume')
    .option('--quiesce', 'write out and freeze its filesystem for the instant; fails when that takes too long')
    .option('-l, --labels <key=value>', 'labels of the object, may be repeated', labelsFlag('--labels'))
    .option(
      '-m, --mirror-count <number>',
      'understood, has no effect: as many as the volume has',
      integerFlag('-m', 1, 3),
    )
    .option('--prefix <text>', 'understood, has no effect: the name is given')
    .option(
      '--sel, --selectors <selectors>',
      'understood, has no effect: a snapshot is where its volume is',
      collectList,
    )
    .action(host.run(createSnapshot))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot create s1 --src v1\n')
  snapshot
    .command('list')
    .alias('ls')
    .description('list snapshots with the space they hold')
    .option('--src <volume>', 'only those of a volume')
    .option('-l, --labels <selector>', 'only those whose labels match')
    .action(host.run(listSnapshots))
    .addHelpText(
      'after',
      '\nRECLAIMABLE comes back when the snapshot is deleted.\n\nExample:\n  $ dctl snapshot list --src v1\n',
    )
  snapshot
    .command('get')
    .description('show snapshots by name')
    .argument('<name...>', 'names of snapshots')
    .action(host.run(getSnapshots))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot get s1 -o yaml\n')
  snapshot
    .command('delete')
    .description('delete snapshots, in any order; volumes made from them stay')
    .argument('<name...>', 'names of snapshots')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteSnapshots))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot delete s1 -y\n')
}

/** Adds `snapshot-group create|list|get|delete`. */
export function addSnapshotGroupVerbs(program: Command, host: VerbHost): void {
  const group = program.command('snapshot-group').description('snapshots of several volumes at one instant')
  group
    .command('create')
    .description('take snapshots of several volumes on one drive at one instant')
    .argument('<name>', 'name of the group; its snapshots are called NAME.VOLUME')
    .requiredOption('--src <volumes>', 'the volumes, repeated or with a comma', collectList)
    .option('--quiesce', 'write out and freeze all their filesystems for the instant; fails when that takes too long')
    .option('-l, --labels <key=value>', 'labels of group and snapshots, may be repeated', labelsFlag('--labels'))
    .option('--cp', 'understood, has no effect: snapshots are always as a power cut would leave the volumes')
    .action(host.run(createGroup))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot-group create g1 --src data,log\n')
  group
    .command('list')
    .alias('ls')
    .description('list snapshot groups')
    .action(host.run(listGroups))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot-group list\n')
  group
    .command('get')
    .description('show snapshot groups by name')
    .argument('<name...>', 'names of groups')
    .action(host.run(getGroups))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot-group get g1 -o yaml\n')
  group
    .command('delete')
    .description('delete snapshot groups with their snapshots')
    .argument('<name...>', 'names of groups')
    .option('-p', 'understood, has no effect: the snapshots of a group always go with it')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteGroups))
    .addHelpText('after', '\nExample:\n  $ dctl snapshot-group delete g1 -y\n')
}

async function createSnapshot(context: VerbContext, [name]: string[], flags: SnapshotCreateFlags): Promise<void> {
  explainUnused(context, flags, {
    mirrorCount: '--mirror-count is understood and has no effect: a snapshot has as many copies as its volume.',
    prefix: '--prefix is understood and has no effect: the snapshot has the name that was given.',
    selectors: '--selectors is understood and has no effect: a snapshot is where its volume is.',
  })
  const store = await context.store()
  const created = await store.create(Snapshot, {
    metadata: { name: name!, ...(flags.labels ? { labels: flags.labels } : {}) },
    spec: { volumeName: flags.src, ...(flags.quiesce ? { quiesce: true } : {}) },
  })
  try {
    const taken = await waitFor(context, store, Snapshot, name!, { what: `snapshot ${name}`, look: sightOf })
    await printChanged(context, taken!, `snapshot ${name} of volume ${flags.src} taken at ${taken!.status!.takenAt}`)
  } catch (error) {
    if (asCarbonadoError(error).code !== 'Unavailable')
      await store.delete(Snapshot, { name: name! }, { uid: created.metadata.uid })
    throw error
  }
}

function sightOf({ status }: Snapshot | SnapshotGroup): Sight {
  if (status?.phase === 'Ready') return { done: true }
  if (status?.phase !== 'Failed') return { at: status?.message ?? 'waiting for control' }
  return { problem: problemOf(status) ?? new InvalidInput(status.message ?? 'it failed') }
}

async function listSnapshots(
  context: VerbContext,
  _names: string[],
  { src, labels }: { src?: string; labels?: string },
): Promise<void> {
  const fieldSelector = src === undefined ? undefined : `spec.volumeName=${src}`
  const { items } = await (await context.store()).list(Snapshot, { fieldSelector, labelSelector: labels })
  await printList(context, Snapshot, items, snapshotColumns(context.now()))
}

async function getSnapshots(context: VerbContext, names: string[]): Promise<void> {
  const store = await context.store()
  const snapshots = await Promise.all(names.map((name) => store.get(Snapshot, { name })))
  await printNamed(context, Snapshot, snapshots, snapshotColumns(context.now()))
}

async function deleteSnapshots(context: VerbContext, names: string[], flags: { assumeYes?: boolean }): Promise<void> {
  await context.confirm(`Delete snapshot${names.length > 1 ? 's' : ''} ${names.join(', ')}?`, flags.assumeYes)
  const store = await context.store()
  for (const name of names) {
    const deleted = await store.delete(Snapshot, { name })
    await waitGone(context, store, Snapshot, deleted, `snapshot ${name}`)
    await printChanged(context, deleted, `snapshot ${name} deleted`)
  }
}

async function createGroup(
  context: VerbContext,
  [name]: string[],
  flags: { src: string[]; labels?: Record<string, string>; cp?: boolean; quiesce?: boolean },
): Promise<void> {
  explainUnused(context, flags, {
    cp: '--cp is understood and has no effect: without --quiesce, snapshots are as a power cut would leave the volumes.',
  })
  const store = await context.store()
  const created = await store.create(SnapshotGroup, {
    metadata: { name: name!, ...(flags.labels ? { labels: flags.labels } : {}) },
    spec: { volumeNames: flags.src, ...(flags.quiesce ? { quiesce: true } : {}) },
  })
  try {
    const taken = await waitFor(context, store, SnapshotGroup, name!, { what: `snapshot group ${name}`, look: sightOf })
    const { snapshotNames, takenAt } = taken!.status!
    await printChanged(context, taken!, `snapshot group ${name} taken at ${takenAt}: ${snapshotNames.join(', ')}`)
  } catch (error) {
    if (asCarbonadoError(error).code !== 'Unavailable')
      await store.delete(SnapshotGroup, { name: name! }, { uid: created.metadata.uid })
    throw error
  }
}

async function listGroups(context: VerbContext): Promise<void> {
  const { items } = await (await context.store()).list(SnapshotGroup)
  await printList(context, SnapshotGroup, items, groupColumns(context.now()))
}

async function getGroups(context: VerbContext, names: string[]): Promise<void> {
  const store = await context.store()
  const groups = await Promise.all(names.map((name) => store.get(SnapshotGroup, { name })))
  await printNamed(context, SnapshotGroup, groups, groupColumns(context.now()))
}

async function deleteGroups(
  context: VerbContext,
  names: string[],
  flags: { p?: boolean; assumeYes?: boolean },
): Promise<void> {
  explainUnused(context, flags, {
    p: '-p is understood and has no effect: the snapshots of a group always go with it.',
  })
  await context.confirm(
    `Delete snapshot group${names.length > 1 ? 's' : ''} ${names.join(', ')} with all snapshots?`,
    flags.assumeYes,
  )
  const store = await context.store()
  for (const name of names) {
    const deleted = await store.delete(SnapshotGroup, { name })
    await waitGone(context, store, SnapshotGroup, deleted, `snapshot group ${name}`)
    await printChanged(context, deleted, `snapshot group ${name} deleted`)
  }
}
