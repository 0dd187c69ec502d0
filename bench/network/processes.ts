import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { exec, Unavailable, type ExecResult } from '../../src/base/index.ts'
import { makeLabCgroup } from '../../lab/cgroups.ts'
import { insideNetns, joiningCgroup } from '../../lab/processes.ts'

/** Where and how a tool runs. */
export interface ToolPlace {
  /** Path of its network namespace, as the host sees it. */
  netns: string
  /** Processor that it is pinned to; absent: any. */
  processor?: number
}

/**
 * Starts a tool in a network namespace alone, for both sides of a comparison alike. It is in the lab's cgroup, so that
 * it ends with the lab at the latest.
 */
export function startTool(place: ToolPlace, command: string[]): ChildProcess {
  const [file, ...args] = toolCommand(place, command)
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  child.on('error', () => {}) // whoever waits for what it prints finds out
  return child
}

/** Starts a tool whose output nobody needs, such as the server of a measurement. */
export function startQuietTool(place: ToolPlace, command: string[]): ChildProcess {
  const [file, ...args] = toolCommand(place, command)
  const child = spawn(file, args, { stdio: 'ignore' })
  child.on('error', () => {}) // what is measured with it finds out
  return child
}

/** Runs a tool to its end. Throws ExecError. */
export function runTool(place: ToolPlace, command: string[], deadline = 60_000): Promise<ExecResult> {
  return exec(toolCommand(place, command), { deadline })
}

/** Starts a command among the lab's processes, with pipes. */
export function startInLab(command: string[]): ChildProcess {
  const [file, ...args] = joiningCgroup(makeLabCgroup('bench'), command)
  return spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
}

/** Ends a process and waits until it has gone. */
export async function endTool(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise((resolve) => {
    child.on('close', resolve)
    child.stdout?.resume()
    child.kill('SIGKILL')
  })
}

/** Throws Unavailable when a tool is not on the machine. */
export function requireTool(tool: string, debianPackage: string): void {
  const isThere = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  if (isThere) return
  throw new Unavailable(`this benchmark needs ${tool}, which this machine does not have`, {
    remedy: `Install it with: apt-get install ${debianPackage}`,
  })
}

function toolCommand({ netns, processor }: ToolPlace, command: string[]): [string, ...string[]] {
  const pinned = processor === undefined ? command : ['taskset', '-c', String(processor), ...command]
  return joiningCgroup(makeLabCgroup('bench'), insideNetns(netns, pinned))
}
