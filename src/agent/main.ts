import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { asCarbonadoError, createLogger, InvalidInput, type Logger } from '../base/index.ts'
import { createSoftVfEngine } from '../network/soft-vf/index.ts'
import { startAgent, type Agent } from './agent.ts'
import { loadAgentConfig } from './config.ts'

// Keeps the young generation of the heap small: the agent makes little garbage, and every node pays for its memory.
setFlagsFromString('--semi-space-growth-factor=1')

const logger = createLogger('carbonado-agent')

/** Starts the agent with `--config FILE` and stops it gracefully on SIGTERM and SIGINT. */
async function main(): Promise<void> {
  const config = loadAgentConfig(configFile())
  const agent = await startAgent({
    config,
    logger,
    createEngine: (spec, linkRate) =>
      createSoftVfEngine({
        uplink: spec.uplinks.pods.interface,
        linkRate,
        objects: config.programs,
        pins: config.bpffs,
        logger,
      }),
  })
  stopOnSignals(agent, logger)
}

function configFile(): string {
  const { config } = parseArgs({ options: { config: { type: 'string' } } }).values
  if (config) return config
  throw new InvalidInput('the agent needs --config FILE', { remedy: 'Give the path of its configuration.' })
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
  logger.error({ err: error, remedy: error.remedy }, 'the agent cannot start')
  process.exitCode = 1
  process.exit()
})
