import { spawn } from 'node:child_process'
import { getPriority, setPriority } from 'node:os'
import { CarbonadoError } from './errors.ts'

/** How a child process is run. */
export interface ExecOptions {
  /** Written to standard input, which is then closed. */
  input?: string | Buffer
  /** Milliseconds until the child is killed; 10 000 unless told. */
  deadline?: number
  env?: NodeJS.ProcessEnv
  cwd?: string
  signal?: AbortSignal
}

/** What a child that exited with 0 printed. */
export interface ExecResult {
  stdout: string
  stderr: string
}

/** A verifier log has megabytes; its end tells what was wrong. */
const longestMessage = 2000

/** A child process that failed, with everything it said. */
export class ExecError extends CarbonadoError {
  readonly exitCode: number | null
  readonly stderr: string
  readonly stdout: string
  /** There is no such program on this machine. */
  readonly isMissing: boolean

  constructor(command: string[], exitCode: number | null, stdout: string, stderr: string, why?: string | Error) {
    const said = (stderr || stdout).trim().slice(-longestMessage)
    const problem = why instanceof Error ? why.message : (why ?? `exit code ${exitCode}`)
    super('Internal', `${command.join(' ')}: ${problem}${said ? `: ${said}` : ''}`)
    this.isMissing = why instanceof Error && (why as NodeJS.ErrnoException).code === 'ENOENT'
    this.exitCode = exitCode
    this.stdout = stdout
    this.stderr = stderr
  }
}

const defaultDeadline = 10_000
/** Milliseconds after its deadline in which what a child that has ended wrote can still be read. */
const draining = 1000

/**
 * Runs a command given as an argument array (never through a shell) with `LC_ALL=C` and a deadline.
 * Throws ExecError when it exits with anything but 0, cannot be started or misses its deadline.
 */
export function exec(command: [string, ...string[]], options: ExecOptions = {}): Promise<ExecResult> {
  const [file, ...args] = command
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: { ...(options.env ?? process.env), LC_ALL: 'C' },
      cwd: options.cwd,
      signal: options.signal,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    const text = (parts: Buffer[]): string => Buffer.concat(parts).toString()
    let late = false
    let timer: NodeJS.Timeout | undefined
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(new ExecError(command, null, text(out), text(err), error))
    })
    if (!child.stdout) return // without descriptors for its pipes there is no child: the error tells
    lowerPriority(child.pid)
    timer = setTimeout(() => {
      timer = setTimeout(giveUp, draining)
      setImmediate(() => {
        if (child.exitCode !== null || child.signalCode !== null) return // it had, and this process was too busy to hear
        late = true
        child.kill('SIGKILL')
      })
    }, options.deadline ?? defaultDeadline)
    const giveUp = (): void => {
      late = true
      child.stdout!.destroy() // a child of the child has them still
      child.stderr!.destroy()
    }
    child.stdout.on('data', (part: Buffer) => out.push(part))
    child.stderr!.on('data', (part: Buffer) => err.push(part))
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0 && !late) resolve({ stdout: text(out), stderr: text(err) })
      else reject(new ExecError(command, code, text(out), text(err), late ? 'missed its deadline' : undefined))
    })
    if (options.input !== undefined) {
      child.stdin!.on('error', () => {}) // the exit code tells; EPIPE here only says that it stopped reading
      child.stdin!.end(options.input)
    }
  })
}

/** Runs a command whose standard output is one JSON document. Empty output is `undefined`. */
export async function execJson<T>(command: [string, ...string[]], options: ExecOptions = {}): Promise<T | undefined> {
  const { stdout } = await exec(command, options)
  return stdout.trim() === '' ? undefined : (JSON.parse(stdout) as T)
}

/** A process that has put itself before others did so for its own work, not for that of its children. */
function lowerPriority(pid: number | undefined): void {
  if (pid === undefined || getPriority() >= 0) return
  try {
    setPriority(pid, 0)
  } catch {
    // it has ended already
  }
}
