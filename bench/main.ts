import './own-lab.ts'
import { Command } from 'commander'
import { asCarbonadoError, InvalidInput } from '../src/base/index.ts'
import { kubernetesSuite } from './kubernetes/suite.ts'
import { networkSuite } from './network/suite.ts'
import { storageSuite } from './storage/suite.ts'
import { jsonReport, markdownReport, tableReport } from './report.ts'
import { runSuite } from './runner.ts'
import type { MeasuredRow, RunContext, Suite } from './suite.ts'

const suites: Suite[] = [networkSuite, storageSuite, kubernetesSuite]

interface Options {
  json?: boolean
  markdown?: boolean
  quick?: boolean
  only?: string
  list?: boolean
}

/** A run that printed its table is a success, whatever the rows say: `met` says that. */
const exitCodes = { couldNotRun: 2, interrupted: 130 } as const

const program = new Command('bench')
  .description('Measures Carbonado on a lab of its own and compares the results with their targets. Needs root.')
  .argument('<suite>', `one of: ${suites.map(({ name }) => name).join(', ')}`)
  .option('--json', 'print one JSON object instead of a table')
  .option('--markdown', 'print the table as Markdown (not of a quick run)')
  .option('--only <pattern>', 'run only the rows whose names match this regular expression (case does not matter)')
  .option('--quick', 'shorten everything: for those who work on a benchmark, not to be quoted')
  .option('--list', 'print the names of the rows and run nothing')
  .action(run)

await program.parseAsync().catch((thrown: unknown) => {
  const { message, remedy } = asCarbonadoError(thrown)
  process.stderr.write(`bench: ${message}\n${remedy === undefined ? '' : `${remedy}\n`}`)
  process.exitCode = exitCodes.couldNotRun
})
process.exit() // a tool that was started may still hold a pipe open

async function run(name: string, options: Options): Promise<void> {
  const suite = findSuite(name)
  const only = pattern(options.only)
  if (options.list) return list(suite, only)
  cleanUpWhenInterrupted(suite)
  const quick = options.quick ?? false
  try {
    const rows = await runSuite(suite, only, { quick, progress: progressSince(Date.now()) })
    if (rows.length === 0) throw new InvalidInput(`no row matches "${options.only}"`, { remedy: 'See: --list' })
    process.stdout.write(`${report(rows, options)}\n`)
  } finally {
    await suite.cleanUp()
  }
}

function report(rows: MeasuredRow[], { json, markdown, quick = false }: Options): string {
  if (json) return jsonReport(rows, quick)
  return markdown && !quick ? markdownReport(rows) : tableReport(rows, quick)
}

function list(suite: Suite, only: RegExp): void {
  const rows = suite.stages.flatMap((stage) => stage.groups.flatMap((group) => group.rows))
  for (const { name } of rows.filter(({ name }) => only.test(name))) process.stdout.write(`${name}\n`)
}

function findSuite(name: string): Suite {
  const suite = suites.find((candidate) => candidate.name === name)
  if (suite) return suite
  throw new InvalidInput(`there is no suite "${name}"`, { remedy: `Choose: ${suites.map((s) => s.name).join(', ')}` })
}

function pattern(text = ''): RegExp {
  try {
    return new RegExp(text, 'i')
  } catch (error) {
    throw new InvalidInput(`--only "${text}" is not a regular expression: ${(error as Error).message}`)
  }
}

function progressSince(begin: number): RunContext['progress'] {
  return (text) => void process.stderr.write(`[${((Date.now() - begin) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)
}

function cleanUpWhenInterrupted(suite: Suite): void {
  let isInterrupted = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (isInterrupted) return
      isInterrupted = true
      process.stderr.write('interrupted; removing the lab\n')
      void removeAll(suite).finally(() => process.exit(exitCodes.interrupted))
    })
  }
}

/** Twice: a step that was under way may have made something after the first look. */
async function removeAll(suite: Suite): Promise<void> {
  await suite.cleanUp().catch(() => {})
  await suite.cleanUp()
}
