import '../base/early-compilation.ts' // first of all
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { asCarbonadoError, createLogger, errorLines, InvalidInput, type Logger } from '../base/index.ts'
import { createSoftVfEngine } from '../network/soft-vf/index.ts'
import { FilePoolFormat, LvmThinFormat } from '../storage/pools/index.ts'
import { startAgent, type Agent } from './agent.ts'
import { loadAgentConfig } from './config.ts'
import { raisePriority } from './priority.ts'
import { version } from './version.ts'

// Keeps the young generation of the heap small: the agent makes little garbage, and every node pays for its memory.
setFlagsFromString('--semi-space-growth-factor=1')
// Of so little, one thread cleans up sooner than it could wake others for it.
setFlagsFromString('--no-parallel-scavenge')

const logger = createLogger('carbonado-agent')

/** Starts the agent with `--config FILE` and stops it gracefully on SIGTERM and SIGINT. */
async function main(): Promise<void> {
  const file = configFile()
  if (file === undefined) return
  const config = loadAgentConfig(file)
  raisePriority(logger)
  const agent = await startAgent({
    config,
    logger,
    createEngine: (uplink, limits) =>
      createSoftVfEngine({
        uplink,
        limits,
        objects: config.programs,
        pins: config.bpffs,
        logger,
      }),
    poolFormats: [new LvmThinFormat(), new FilePoolFormat({ folder: config.poolDirectory })],
  })
  stopOnSignals(agent, logger)
}

const usage = `Usage: agent --config FILE

The agent of a Carbonado node. It answers the CNI plugin, keeps endpoints attached as control decided, and serves live
figures. Runs as root until SIGTERM; what is attached stays attached. docs/agent.md lists the keys of the configuration.

Options:
  --config FILE  configuration, a JSON file
  --version      print the version
  -h, --help     print this
`

/** The file named by `--config`; undefined when the command line only asked something and has its answer. */
function configFile(): string | undefined {
  const { config, help, version: asksVersion } = readCommandLine()
  if (help || asksVersion) return void process.stdout.write(help ? usage : `${version}\n`)
  if (config) return config
  throw wrongCommandLine('the agent needs --config FILE')
}

function readCommandLine(): { config?: string; help?: boolean; version?: boolean } {
  try {
    return parseArgs({
      options: {
        config: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw wrongCommandLine((error as Error).message)
  }
}

function wrongCommandLine(problem: string): InvalidInput {
  return new InvalidInput(problem, { remedy: 'See agent --help.', details: { isCommandLine: true } })
}

function stopOnSignals(agent: Agent, log: Logger): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.notice({ signal }, 'stopping')
      agent.stop().then(
        () => process.exit(0),
        () => process.exit(1),
      )
    })
  }
}

main().catch((thrown: unknown) => {
  const error = asCarbonadoError(thrown)
  // who starts it by hand reads text; a supervisor's journal takes the line of the log
  const isForPerson = process.stderr.isTTY || error.details.isCommandLine === true
  if (isForPerson) process.stderr.write(errorLines('agent', error))
  else logger.error({ err: error, remedy: error.remedy }, 'the agent cannot start')
  process.exitCode = 1
  process.exit()
})
