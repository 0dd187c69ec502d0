import { setTimeout as sleep } from 'node:timers/promises'
import { annotationsCapability } from '../../lab/cni.ts'
import { quantile } from '../statistics.ts'
import type { Group } from '../suite.ts'
import { createNetwork } from './fresh-lab.ts'
import type { Runtime } from './runtime.ts'
import { rawNetwork, type UnlimitedLab } from './unlimited-lab.ts'

const row = {
  name: 'CNI ADD with 4 interfaces',
  unit: 'ratio',
  comparedWith: 'ADD with 1 interface',
  target: { atMost: 2 },
}

/** Milliseconds after a call in which nothing is called. */
const pause = 100

/** ADD of a pod with four interfaces on four networks against ADD of one with one, by turns; medians. */
export const cniInterfacesGroup: Group<UnlimitedLab> = {
  rows: [row],
  async measure({ lab, carbonado }, _wanted, { quick }) {
    const others = ['second', 'third', 'fourth']
    for (const [index, name] of others.entries()) await createNetwork(lab, name, 101 + index)
    const [one, four] = [annotations([rawNetwork]), annotations([rawNetwork, ...others])]
    const times: { one: number[]; four: number[] } = { one: [], four: [] }
    const rounds = quick ? 30 : 200
    for (let round = -3; round < rounds; round++) {
      for (const [values, side] of round % 2 === 0 ? ([[one, 'one'], [four, 'four']] as const) : ([[four, 'four'], [one, 'one']] as const)) {
        const milliseconds = await once(carbonado[0]!, `${side}-${round + 3}`, values)
        if (round >= 0) times[side].push(milliseconds)
      }
    } // prettier-ignore
    const [median, medianOfOne] = [quantile(times.four, 0.5), quantile(times.one, 0.5)]
    const detail = `p50 ${median.toFixed(1)} ms to ${medianOfOne.toFixed(1)} ms, ${rounds} calls each`
    return { [row.name]: { value: median / medianOfOne, detail } }
  },
}

function annotations(networks: string[]): Record<string, unknown> {
  const entries = networks.map((network, index) => [`carbonado.io/endpoint${index}`, JSON.stringify({ network })])
  return { [annotationsCapability]: Object.fromEntries(entries) as Record<string, string> }
}

async function once(runtime: Runtime, containerId: string, values: Record<string, unknown>): Promise<number> {
  await runtime.prepare(containerId)
  const attachment = await runtime.add(containerId, values)
  await sleep(pause)
  await runtime.remove(attachment, values)
  await sleep(pause)
  await runtime.release(containerId)
  return attachment.milliseconds
}
