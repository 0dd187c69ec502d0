import type { Lab } from '../../lab/index.ts'
import type { RunContext } from '../suite.ts'
import { createNetwork, createTier, freshLab } from './fresh-lab.ts'
import { carbonadoPlugins, Runtime } from './runtime.ts'

/** A lab whose links carry 1 Gbit/s and drop what does not fit. */
export interface GigabitLab {
  lab: Lab
  /** Runtimes of n1, n2, n3. */
  runtimes: [Runtime, Runtime, Runtime]
}

/** Bits per second of its links. */
export const linkRate = 1e9

/** Network of its endpoints, and the tier with a floor, in bits per second. */
export const network = 'flood'
export const goldTier = { name: 'gold', floor: 800e6 }

/** Builds it. */
export async function openGigabitLab(context: RunContext): Promise<GigabitLab> {
  const lab = await freshLab(linkRate, context)
  await createNetwork(lab, network, 110)
  await createTier(lab, goldTier.name, goldTier.floor)
  const [n1, n2, n3] = lab.nodes as [string, string, string]
  const runtime = (node: string): Runtime => new Runtime(node, carbonadoPlugins)
  return { lab, runtimes: [runtime(n1), runtime(n2), runtime(n3)] }
}

/** Takes it down. */
export async function closeGigabitLab({ lab, runtimes }: GigabitLab): Promise<void> {
  for (const runtime of runtimes) runtime.end()
  await lab.down()
}
