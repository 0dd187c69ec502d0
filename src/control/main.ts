import '../base/early-compilation.ts' // first of all
import { Command } from 'commander'
import packageDescription from '../../package.json' with { type: 'json' }
import { asCarbonadoError, createLogger, errorLines, readJsonFile, type Logger } from '../base/index.ts'
import { backupStore, restoreStore } from '../store/index.ts'
import { checkConfig, readConfig, type ControlConfig } from './config.ts'
import { startControl, storeFileOf } from './control.ts'
import { checkCsiConfig, isForCsi, startCsiController, type CsiControllerConfig } from './csi-controller.ts'
import { features } from './features.ts'
import { keepHeapSmall } from './heap.ts'
import { checkKubernetesConfig, isForKubernetes, type KubernetesControlConfig } from './kubernetes/config.ts'
import { startKubernetesControl } from './kubernetes/control.ts'

const logger = createLogger('control')

async function serve(config: ControlConfig): Promise<void> {
  const control = await startControl(config, { logger, features })
  logger.notice({ urls: control.urls }, 'control serves')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.notice({ signal }, 'control stops')
      control.stop().then(() => process.exit(0), fail)
    })
  }
  process.on('SIGHUP', () => reload(control, logger))
}

/** On a cluster: a replica that has lost the lead ends, because what its controllers remember may no longer be true. */
async function serveKubernetes(config: KubernetesControlConfig): Promise<void> {
  const control = await startKubernetesControl(config, { logger, features })
  logger.notice({ urls: control.urls }, 'control answers webhooks')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.notice({ signal }, 'control stops')
      control.stop().then(() => process.exit(0), fail)
    })
  }
  await control.lost
  logger.error('control no longer leads and ends, to be started anew')
  process.exit(1)
}

async function serveCsi(config: CsiControllerConfig): Promise<void> {
  const csi = await startCsiController(config, { logger, version: packageDescription.version })
  logger.notice({ socket: config.csi.socket }, 'the CSI controller serves')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void csi.stop().then(() => process.exit(0), fail))
  }
}

function serveBy(file: string): Promise<void> {
  const config = readJsonFile(file, 'configuration')
  if (isForCsi(config)) return serveCsi(checkCsiConfig(config, file))
  return isForKubernetes(config)
    ? serveKubernetes(checkKubernetesConfig(config, file))
    : serve(checkConfig(config, file))
}

function reload(control: { reload(): void }, log: Logger): void {
  try {
    control.reload()
    log.notice('tokens and certificate were read again')
  } catch (error) {
    log.error({ err: error }, 'tokens and certificate stay as they were')
  }
}

function fail(thrown: unknown): never {
  const error = asCarbonadoError(thrown)
  logger.fatal({ err: error, remedy: error.remedy }, error.message)
  process.exit(1)
}

/** For what a person runs and waits for: text instead of a line of the log. */
function explain(thrown: unknown): never {
  process.stderr.write(errorLines('control', asCarbonadoError(thrown)))
  process.exit(1)
}

/** Runs a subcommand on the store file that the configuration names. */
function onStore(work: (storeFile: string) => string): void {
  try {
    process.stdout.write(`${work(storeFileOf(readConfig(program.opts<{ config: string }>().config)))}\n`)
  } catch (error) {
    explain(error)
  }
}

const program = new Command('control')
  .description("Serves Carbonado's API and runs its controllers.")
  .requiredOption('--config <file>', 'configuration, a JSON file')
  .action(async ({ config }: { config: string }) => serveBy(config))
program
  .command('backup <file>')
  .description('write a consistent copy of the store to a new file; control may be running')
  .action((file: string) =>
    onStore((storeFile) => {
      backupStore(storeFile, file)
      return `The store was copied to ${file}`
    }),
  )
program
  .command('restore <file>')
  .description('replace the store by a backup; control must not be running')
  .action((file: string) =>
    onStore((storeFile) => {
      const kept = restoreStore(file, storeFile)
      return `The store was restored from ${file}${kept ? `; the old one is kept as ${kept}` : ''}`
    }),
  )

keepHeapSmall()
process.on('unhandledRejection', fail)
await program.parseAsync().catch(process.stderr.isTTY ? explain : fail)
