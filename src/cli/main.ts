import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { InvalidInput } from '../base/index.ts'
import { errorText } from './error-text.ts'
import { exitCodes } from './exit-code.ts'
import { verbOf } from './global-flags.ts'
import { runDctl, type AddVerbs } from './program.ts'
import { processWorld } from './world.ts'

const isBundled = process.env.CARBONADO_BUNDLED !== undefined // set when bundling
const fromRepository = (path: string): URL => new URL(`${isBundled ? '..' : '../..'}/${path}`, import.meta.url)

/**
 * The lab is part of the source tree, not of an installed dctl, and starts programs from that tree. So `lab` is only
 * looked for when it is asked for, and a bundle hands the whole command line over to the sources beside it.
 */
async function main(args: string[]): Promise<number> {
  if (verbOf(args[0] === '__complete' ? args.slice(2) : args) !== 'lab') return runDctl(args, processWorld())
  const lab = fromRepository('lab/cli.ts')
  if (!existsSync(fileURLToPath(lab))) return noLab()
  if (!isBundled) return runDctl(args, processWorld(), ((await import(lab.href)) as LabModule).addLabCommand)
  await import(fromRepository('src/cli/main.ts').href)
  return 0 // the sources have set the exit code
}

interface LabModule {
  addLabCommand: AddVerbs
}

function noLab(): number {
  const error = new InvalidInput('the lab is not part of an installed dctl', {
    remedy: 'Run bin/dctl in a checkout of the sources.',
  })
  process.stderr.write(`${errorText(error, { debug: false })}\n`)
  return exitCodes.InvalidInput
}

/** 128 and SIGPIPE: what a shell says of any program that ended because nobody reads what it prints. */
const nobodyReads = 141

// A reader that has seen enough (`dctl event list | head`) closes the pipe: nothing to tell, but not all may have been done.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(nobodyReads)
  throw error
})
process.stderr.on('error', () => {}) // nobody reads what it says

// a verb of the lab may have set process.exitCode itself, to that of a command it ran
process.exitCode = (await main(process.argv.slice(2))) || process.exitCode
