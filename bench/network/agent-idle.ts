import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../../src/base/index.ts'
import { childrenOf } from '../../lab/processes.ts'
import { agentProgram } from '../../lab/programs.ts'
import { programStates } from '../../lab/state.ts'
import type { Group } from '../suite.ts'
import { network, type GigabitLab } from './gigabit-lab.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const rows = {
  processor: { name: 'agent idle with 100 endpoints, processor', unit: '% of a core', target: { atMost: 0.5 } },
  memory: { name: 'agent idle with 100 endpoints, memory', unit: 'MB', target: { atMost: 120 } },
}
const endpoints = 100
/** Clock ticks per second in /proc (USER_HZ, the same on every Linux that Node runs on). */
const ticksPerSecond = 100

/** What an agent costs that has 100 endpoints and nothing to do. */
export const agentIdleGroup: Group<GigabitLab> = {
  rows: Object.values(rows),
  async measure({ runtimes: [n1] }, _wanted, { quick, progress }) {
    progress(`${endpoints} endpoints on n1`)
    const attached: Attachment[] = []
    for (let index = 0; index < endpoints; index++) {
      attached.push(await n1.attach(`idle-${index}`, asAnnotations({ network })))
    }
    const [settling, seconds] = quick ? [5, 15] : [15, 60]
    await sleep(settling * 1000)
    progress(`${seconds} s of idling`)
    const agent = agentProcess()
    const [before, begin] = [ticksOf(agent), performance.now()]
    await sleep(seconds * 1000)
    const ticks = ticksOf(agent) - before
    const share = (100 * ticks) / ticksPerSecond / ((performance.now() - begin) / 1000)
    const processes = withDescendants(agent)
    const memory = processes.reduce((sum, pid) => sum + residentBytes(pid), 0) / 1e6
    for (const attachment of attached) await n1.detach(attachment)
    return {
      [rows.processor.name]: { value: share, detail: `${ticks} ticks of 10 ms in ${seconds} s, children included` },
      [rows.memory.name]: { value: memory, detail: `resident, of ${processes.length} processes` },
    }
  },
}

function agentProcess(): number {
  const identity = programStates.get(agentProgram('n1'))
  if (!identity) throw new Unavailable('the agent of n1 does not run')
  return identity.pid
}

function withDescendants(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(withDescendants)]
}

/** Processor time of a process and its children, those that have ended included. */
function ticksOf(agent: number): number {
  return withDescendants(agent).reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return sum + fields.slice(11, 15).reduce((ticks, field) => ticks + Number(field), 0) // utime stime cutime cstime
  }, 0)
}

function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kibibytes ?? 0) * 1024
}
