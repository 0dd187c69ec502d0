import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { PerfTier } from '../../src/api/index.ts'
import { RestStore } from '../../src/store/index.ts'
import { testTokens, type ControlFiles } from './control-files.ts'

const program = join(import.meta.dirname, '../../src/control/main.ts')

/** Control as a process of its own. */
export interface ControlProcess {
  child: ChildProcess
  /** A client of its unix socket with the rights of an administrator. */
  client(): RestStore
  /** Sends a signal and waits for the end; returns exit code or signal. */
  end(signal: NodeJS.Signals): Promise<number | string | null>
}

/** Starts control and waits until it serves. */
export async function startControlProcess(files: ControlFiles): Promise<ControlProcess> {
  const child = spawn(process.execPath, [program, '--config', files.configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (part: Buffer) => (said += part.toString()))
  const client = (): RestStore =>
    new RestStore({ server: `unix://${files.folder}/control.sock`, token: testTokens.admin, timeout: 30_000 })
  const probe = client()
  const deadline = Date.now() + 45_000
  while (!(await probe.list(PerfTier).catch(() => undefined))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`control did not start: ${said}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await probe.close()
  return {
    child,
    client,
    end: async (signal) => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal)
        await once(child, 'exit')
      }
      return child.exitCode ?? child.signalCode
    },
  }
}

/** Runs a subcommand of control to its end. */
export async function runControl(
  files: ControlFiles,
  ...args: string[]
): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [program, '--config', files.configFile, ...args])
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}
