import type { Pool, PoolFormat } from '../../src/storage/pool-format.ts'
import { readText, writeText } from './block-content.ts'

const mebibyte = 2 ** 20

/** One change of a pool, as the storm says it before and after. */
export type StormStep =
  | { do: 'create'; id: string; size: number }
  | { do: 'write'; id: string; text: string }
  | { do: 'clone'; id: string; sourceId: string; size: number }
  | { do: 'snapshot'; members: { id: string; volumeId: string }[] }
  | { do: 'resize'; id: string; size: number }
  | { do: 'restore'; id: string; snapshotId: string }
  | { do: 'delete'; id: string }

/** What a pool holds after some steps. */
export type StormModel = Map<string, { kind: 'volume' | 'snapshot'; size: number; text: string }>

/** What a step makes of a pool. */
export function applyStep(before: StormModel, step: StormStep): StormModel {
  const model = structuredClone(before)
  if (step.do === 'create') model.set(step.id, { kind: 'volume', size: step.size, text: '' })
  else if (step.do === 'write') model.get(step.id)!.text = step.text
  else if (step.do === 'clone') model.set(step.id, { kind: 'volume', size: step.size, text: model.get(step.sourceId)!.text })
  else if (step.do === 'resize') model.get(step.id)!.size = step.size
  else if (step.do === 'restore') model.get(step.id)!.text = model.get(step.snapshotId)!.text
  else if (step.do === 'delete') model.delete(step.id)
  else for (const { id, volumeId } of step.members) model.set(id, { ...model.get(volumeId)!, kind: 'snapshot' })
  return model
} // prettier-ignore

/** What the pool really holds, its content included. */
export async function poolModel(pool: Pool): Promise<StormModel> {
  const model: StormModel = new Map()
  for (const { id, kind, size } of await pool.list()) {
    const { devicePath } = await pool.activate(id, { readOnly: true })
    model.set(id, { kind, size, text: await readText(devicePath) })
    await pool.deactivate(id)
  }
  return model
}

function pick<T>(from: T[]): T {
  return from[Math.floor(Math.random() * from.length)]!
}

let made = 0

/** A step that can be done to such a pool; names are never used twice. */
function nextStep(model: StormModel): StormStep {
  const id = `e${process.pid}-${++made}`
  const of = (kind: string): string[] => [...model].filter(([, entry]) => entry.kind === kind).map(([each]) => each)
  const [volumes, snapshots, all] = [of('volume'), of('snapshot'), [...model.keys()]]
  const first: StormStep = { do: 'create', id, size: 8 * mebibyte }
  if (volumes.length < 2) return first
  const volume = pick(volumes)
  const { size } = model.get(volume)!
  const steps: StormStep[] = [
    first,
    { do: 'write', id: volume, text: id },
    { do: 'resize', id: volume, size: size + mebibyte },
    { do: 'snapshot', members: [{ id, volumeId: volume }] },
    { do: 'snapshot', members: volumes.slice(0, 2).map((volumeId, index) => ({ id: `${id}-${index}`, volumeId })) },
  ]
  const source = pick(all)
  steps.push({ do: 'clone', id, sourceId: source, size: model.get(source)!.size + pick([0, mebibyte]) })
  const fitting = snapshots.filter((each) => model.get(each)!.size <= size)
  if (fitting.length > 0) steps.push({ do: 'restore', id: volume, snapshotId: pick(fitting) })
  return all.length > 8 ? { do: 'delete', id: pick(all) } : pick([...steps, { do: 'delete', id: pick(all) }])
}

async function perform(pool: Pool, step: StormStep): Promise<void> {
  if (step.do === 'create') await pool.create({ id: step.id, size: step.size, sectorSize: 4096 })
  else if (step.do === 'clone') await pool.clone(step)
  else if (step.do === 'snapshot') await pool.snapshot(step.members)
  else if (step.do === 'resize') await pool.resize(step.id, step.size)
  else if (step.do === 'restore') await pool.restore(step.id, step.snapshotId)
  else if (step.do === 'delete') await pool.delete(step.id)
  else {
    const { devicePath } = await pool.activate(step.id, { readOnly: false })
    await writeText(devicePath, step.text)
    await pool.deactivate(step.id)
  }
}

/** Changes a pool for ever, saying on standard output what it does and what it has done, to be killed in the middle. */
export async function storm(format: PoolFormat, device: string): Promise<never> {
  const pool = await format.open(device)
  for (const { id } of await pool.active()) await pool.deactivate(id)
  let model = await poolModel(pool)
  console.log(JSON.stringify({ ready: true }))
  for (;;) {
    const step = nextStep(model)
    console.log(JSON.stringify({ step }))
    await perform(pool, step)
    model = applyStep(model, step)
    console.log(JSON.stringify({ done: true }))
  }
}
