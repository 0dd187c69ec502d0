import { asCarbonadoError } from '../src/base/index.ts'
import type { Group, MeasuredRow, Measurement, Row, RunContext, Stage, Suite, Target } from './suite.ts'

/** Runs the rows of a suite whose names match, stage after stage. A row that cannot run does not stop the others. */
export async function runSuite(suite: Suite, only: RegExp, context: RunContext): Promise<MeasuredRow[]> {
  const measured: MeasuredRow[] = []
  for (const stage of suite.stages) measured.push(...(await runStage(stage, only, context)))
  return measured
}

/** Whether a value reaches a target; what has none is only reported. */
export function reaches(value: number, target: Target | undefined): boolean {
  if (target === undefined) return true
  if ('atLeast' in target) return value >= target.atLeast
  if ('atMost' in target) return value <= target.atMost
  return value === target.exactly
}

/** A row and its measurement in the form that is printed. Compared before it is rounded. */
function measuredRow(row: Row, measurement: Measurement): MeasuredRow {
  const { name, unit, comparedWith = null, target } = row
  const facts = { unit, comparedWith, target: targetText(target) }
  if ('reason' in measurement) return { name, value: null, ...facts, met: false, detail: measurement.reason }
  const { value, detail = '' } = measurement
  return { name, value: rounded(value), ...facts, met: reaches(value, target), detail }
}

async function runStage(stage: Stage<never>, only: RegExp, context: RunContext): Promise<MeasuredRow[]> {
  const wanted = new Set(
    stage.groups.flatMap(({ rows }) => rows.map(({ name }) => name)).filter((name) => only.test(name)),
  )
  if (wanted.size === 0) return []
  let place: never
  try {
    context.progress(`${stage.name}: being set up`)
    place = await stage.open(context)
  } catch (error) {
    return stage.groups.flatMap((group) => missing(group, wanted, error))
  }
  try {
    const measured: MeasuredRow[] = []
    for (const group of stage.groups) measured.push(...(await runGroup(group, place, wanted, context)))
    return measured
  } finally {
    await stage.close(place)
  }
}

async function runGroup(
  group: Group<never>,
  place: never,
  wanted: Set<string>,
  context: RunContext,
): Promise<MeasuredRow[]> {
  const rows = group.rows.filter(({ name }) => wanted.has(name))
  if (rows.length === 0) return []
  try {
    const measurements = await group.measure(place, wanted, context)
    return rows.map((row) => {
      const measured = measuredRow(row, measurements[row.name] ?? { reason: 'was not measured' })
      context.progress(`${measured.met ? 'met' : 'NOT MET'}: ${row.name} ${measured.value ?? '-'} ${measured.detail}`)
      return measured
    })
  } catch (error) {
    return missing(group, wanted, error)
  }
}

function missing(group: Group<never>, wanted: Set<string>, thrown: unknown): MeasuredRow[] {
  const { message, remedy } = asCarbonadoError(thrown)
  const reason = `could not run: ${message}${remedy === undefined ? '' : ` (${remedy})`}`
  return group.rows.filter(({ name }) => wanted.has(name)).map((row) => measuredRow(row, { reason }))
}

function targetText(target: Target | undefined): string {
  if (target === undefined) return 'reported'
  if ('atLeast' in target) return `>= ${target.atLeast}`
  if ('atMost' in target) return `<= ${target.atMost}`
  return `= ${target.exactly}`
}

/** Three digits after the point below 100, one below 1000, else whole. */
function rounded(value: number): number {
  const digits = Math.abs(value) < 100 ? 3 : Math.abs(value) < 1000 ? 1 : 0
  return Number(value.toFixed(digits))
}
