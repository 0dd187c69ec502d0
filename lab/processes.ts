import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, openSync, closeSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { exec, Unavailable, type ExecOptions, type ExecResult } from '../src/base/index.ts'

/** Milliseconds that a command in the lab may take unless told: programs start slowly where several labs share a processor. */
const commandDeadline = 60_000

/** Runs a command that somebody wants run in the lab; throws ExecError when it fails. */
export function execInLab(command: [string, ...string[]], options: ExecOptions): Promise<ExecResult> {
  return exec(command, { deadline: commandDeadline, ...options })
}

/** A process that can be told from a later one with the same id. */
export interface ProcessIdentity {
  pid: number
  /** Clock ticks from boot to its start. */
  startTime: string
}

/** Identity of a running process; undefined when there is none, or when all its threads have ended. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return hasEnded(pid, fields[0]!) ? undefined : { pid, startTime: fields[19]! }
  } catch {
    return undefined
  }
}

/** The first thread of a killed process is a zombie while others still hold its files: its sockets take connections. */
function hasEnded(pid: number, state: string): boolean {
  return state === 'X' || (state === 'Z' && readdirSync(`/proc/${pid}/task`).length <= 1)
}

/** Whether that very process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime
}

/** Process ids of the children of a process. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Sends a signal to that very process; false when it has gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false
  try {
    return process.kill(identity.pid, signal)
  } catch {
    return false
  }
}

/** Waits until a condition holds; throws Unavailable naming `what` after `deadline` milliseconds. */
export async function waitFor<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  { deadline = 5000, interval = 5 }: { deadline?: number; interval?: number } = {},
): Promise<T> {
  const end = Date.now() + deadline
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    if (Date.now() > end) throw new Unavailable(`waited ${deadline / 1000} s in vain for ${what}`)
    await sleep(interval)
  }
}

/** Waits until a process has gone; false when it is still there after `deadline` milliseconds. */
export async function waitForExit(identity: ProcessIdentity, deadline: number): Promise<boolean> {
  const end = Date.now() + deadline
  while (isRunning(identity)) {
    if (Date.now() > end) return false
    await sleep(5)
  }
  return true
}

/** Command prefix that joins a cgroup before it becomes the command, so that no instant is spent outside. */
export function joiningCgroup(cgroupProcs: string, command: string[]): [string, ...string[]] {
  return ['sh', '-c', 'echo 0 > "$1" && shift && exec "$@"', 'sh', cgroupProcs, ...command]
}

/** Command as run in the namespaces of a lab machine whose process 1 has the host's process id `pid`. */
export function insideMachine(pid: number, command: string[]): [string, ...string[]] {
  return ['nsenter', '-t', String(pid), '-m', '-u', '-i', '-n', '-p', '--', ...command]
}

/** Command as run in a network namespace and otherwise on the host. */
export function insideNetns(path: string, command: string[]): [string, ...string[]] {
  return ['nsenter', `--net=${path}`, '--', ...command]
}

/** Starts a process that outlives this one; its output is appended to `logFile`. */
export function startDaemon(command: [string, ...string[]], logFile: string, env = process.env): ChildProcess {
  const log = openSync(logFile, 'a', 0o600)
  try {
    const [file, ...args] = command
    const child = spawn(file, args, { detached: true, stdio: ['ignore', log, log], env })
    child.on('error', () => {}) // whoever waits for the program to answer reports it, with the log's path
    child.unref()
    return child
  } finally {
    closeSync(log)
  }
}

/** The last lines of a log file, for error messages; of a structured line its message and error, at most 500 characters. */
export function lastLines(file: string, count = 5): string {
  if (!existsSync(file)) return ''
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(-count)
  return lines.map((line) => plainText(line).slice(0, 500)).join('\n')
}

function plainText(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } }
    return [msg, err?.message].filter(Boolean).join(': ') || line
  } catch {
    return line
  }
}
