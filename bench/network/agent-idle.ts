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
/** Until what follows an attach by itself is over: programs that are put ahead one by one, five a second, above all. */
const settling = { whole: 45, quick: 5 }
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
    const [settle, seconds] = quick ? [settling.quick, 15] : [settling.whole, 60]
    const agent = agentProcess()
    progress(`${settle} s to settle`)
    const settled = await shareOver(agent, settle)
    progress(`${seconds} s of idling`)
    const share = await shareOver(agent, seconds)
    const processes = withDescendants(agent)
    const memory = processes.reduce((sum, pid) => sum + residentBytes(pid), 0) / 1e6
    for (const attachment of attached) await n1.detach(attachment)
    return {
      [rows.processor.name]: {
        value: share,
        detail: `over ${seconds} s, children included; ${settled.toFixed(2)} % in the ${settle} s after the last ADD`,
      },
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

/** Percent of a core that a process and its children use in so many seconds. */
async function shareOver(agent: number, seconds: number): Promise<number> {
  const [before, begin] = [ticksOf(agent), performance.now()]
  await sleep(seconds * 1000)
  return (100 * (ticksOf(agent) - before)) / ticksPerSecond / ((performance.now() - begin) / 1000)
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
