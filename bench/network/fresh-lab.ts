import { Conflict } from '../../src/base/index.ts'
import { Network, PerfTier } from '../../src/api/index.ts'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { isRunning } from '../../lab/processes.ts'
import { readLabState } from '../../lab/state.ts'
import type { RunContext } from '../suite.ts'

/** Builds the benchmarks' own lab anew. Throws Conflict while another process uses it. */
export async function freshLab(rate: number | null, context: RunContext, nodes = 3, kubernetes = false): Promise<Lab> {
  const user = otherUser()
  if (user !== undefined) {
    throw new Conflict(`the lab of the benchmarks is used by process ${user}`, {
      remedy: 'Wait for it, or set CARBONADO_LAB to another name.',
    })
  }
  await takeLabDown()
  return Lab.up({ nodes, rate, kubernetes, onProgress: (step) => context.progress(`lab: ${step}`) })
}

/** Removes the benchmarks' lab, also one that a crash left, but not one that another process uses. */
export async function removeLab(): Promise<void> {
  if (otherUser() === undefined) await takeLabDown()
}

/** The process that built the lab, when it is another one and still runs. */
function otherUser(): number | undefined {
  const starter = readLabState()?.starter
  return starter && starter.pid !== process.pid && isRunning(starter) ? starter.pid : undefined
}

/** Makes a network for a benchmark: 10.N.0.0/16 on VLAN N. */
export async function createNetwork(lab: Lab, name: string, number: number): Promise<void> {
  await lab.store.create(Network, {
    metadata: { name },
    spec: { subnets: [{ cidr: `10.${number}.0.0/16`, ranges: [] }], vlan: number, plane: 'pods', isDefault: false },
  })
}

/** Makes a tier; rates in bits per second. */
export async function createTier(lab: Lab, name: string, floor: number, cap?: number): Promise<void> {
  const spec = { networkBandwidth: floor, ...(cap === undefined ? {} : { maxNetworkBandwidth: cap }) }
  await lab.store.create(PerfTier, { metadata: { name }, spec })
}
