import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from '../../lab/index.ts'
import { agentProgram, controlMachine } from '../../lab/programs.ts'
import { expectRunning } from './still-running.ts'

/** How long a storm lasts: rounds of each worker, or until so many programs were killed. */
export interface KillStormOptions {
  workers: number
  rounds?: number
  kills?: number
}

/**
 * Lets workers live while agents and control are killed and started again at random moments. A worker takes one round
 * after the other from `rounds` until there are no more. Returns how many programs were killed.
 */
export async function amongKills(
  lab: Lab,
  { workers, rounds = Infinity, kills = Infinity }: KillStormOptions,
  live: (worker: number, rounds: Iterable<number>) => Promise<void>,
): Promise<number> {
  let killed = 0
  let isOver = false
  const killing = (async () => {
    while (!isOver) {
      await sleep(Math.random() * 500)
      await killOne(lab)
      killed += 1
    }
  })()
  function* roundsLeft(): Generator<number> {
    for (let round = 0; round < rounds && killed < kills; round += 1) yield round
  }
  try {
    await Promise.all(Array.from({ length: workers }, (_, worker) => live(worker, roundsLeft())))
  } finally {
    isOver = true
    await killing
  }
  return killed
}

async function killOne(lab: Lab): Promise<void> {
  const node = lab.nodes[Math.floor(Math.random() * (lab.nodes.length + 1))]
  if (node === undefined) {
    expectRunning(controlMachine)
    await lab.stopControl({ kill: true })
    await lab.startControl()
  } else {
    expectRunning(agentProgram(node))
    await lab.killAgent(node)
    await lab.startAgent(node)
  }
}

/**
 * Does it again until it succeeds: what was asked may have been cut off by a kill. Throws what it throws when that
 * `mayPass` says no, or after `patience` milliseconds.
 */
export async function insist<T>(
  work: () => Promise<T>,
  { patience = 120_000, mayPass = () => true }: { patience?: number; mayPass?: (error: unknown) => boolean } = {},
): Promise<T> {
  const giveUp = performance.now() + patience
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!mayPass(error) || performance.now() > giveUp) throw error
      await sleep(50)
    }
  }
}
