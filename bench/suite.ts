/** What a row must reach; absent where a number is only reported. */
export type Target = { atLeast: number } | { atMost: number } | { exactly: number }

/** One line of the table, before it is measured. */
export interface Row {
  /** Unique in its suite. */
  name: string
  /** Unit of the value; `ratio` is ours divided by what it is compared with. */
  unit: string
  comparedWith?: string
  target?: Target
}

/** What was measured for a row, or why it could not be. */
export type Measurement = { value: number; detail?: string } | { reason: string }

/** A row with its measurement, in the form that `--json` prints. */
export interface MeasuredRow {
  name: string
  /** null when it could not be measured. */
  value: number | null
  unit: string
  comparedWith: string | null
  /** Such as `>= 0.95`, or `reported`. */
  target: string
  met: boolean
  /** How the value came about: ranges, absolute numbers; or why there is none. */
  detail: string
}

/** How a run is made. */
export interface RunContext {
  /** Shorter and less exact, for those who work on a benchmark. */
  quick: boolean
  /** Tells people on standard error what goes on. */
  progress(text: string): void
}

/** Rows that are measured together, in one go. */
export interface Group<Place> {
  rows: Row[]
  /** Measures the rows whose names are in `wanted`; others may be left out. Throws when none can be measured. */
  measure(place: Place, wanted: ReadonlySet<string>, context: RunContext): Promise<Record<string, Measurement>>
}

/** Groups that share a place, such as a lab: it is opened once, when one of their rows is wanted. */
export interface Stage<Place> {
  name: string
  open(context: RunContext): Promise<Place>
  close(place: Place): Promise<void>
  groups: Group<Place>[]
}

/** Everything that `npm run bench -- NAME` runs. */
export interface Suite {
  name: string
  stages: Stage<never>[]
  /** Removes whatever the suite has on the machine, at any moment. */
  cleanUp(): Promise<void>
}

/** Makes a stage fit into a suite's list, whatever its place is. */
export function stage<Place>(description: Stage<Place>): Stage<never> {
  return description as unknown as Stage<never>
}
