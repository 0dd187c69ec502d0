import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../statistics.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { asAnnotations, type Runtime } from './runtime.ts'
import { limitedTier, rawNetwork, requireStandardPlugins, type UnlimitedLab } from './unlimited-lab.ts'

const comparedWith = 'bridge + host-local + bandwidth'
const rows = {
  addMedian: { name: 'CNI ADD p50', unit: 'ratio', comparedWith, target: { atMost: 0.5 } },
  addTail: { name: 'CNI ADD p99', unit: 'ratio', comparedWith, target: { atMost: 1 } },
  delMedian: { name: 'CNI DEL p50', unit: 'ratio', comparedWith, target: { atMost: 0.3 } },
}

/** Milliseconds after a call in which nothing is called: what one side does after its answer must not slow the other. */
const pause = 100

interface Times {
  add: number[]
  del: number[]
}

interface Side {
  runtime: Runtime
  values: Record<string, unknown>
  times: Times
}

/** ADD and DEL of an interface with a limit, one at a time, both sides by turns. */
export const cniLatencyGroup: Group<UnlimitedLab> = {
  rows: Object.values(rows),
  async measure(place, _wanted, context) {
    requireStandardPlugins()
    const ours = side(place.carbonado[0]!, asAnnotations({ network: rawNetwork, perfTier: limitedTier.name }))
    const theirs = side(place.bridgeWithBandwidth, bandwidthValues())
    await measureByTurns([ours, theirs], context)
    const compare = (verb: keyof Times, share: number): Measurement => {
      const [mine, other] = [quantile(ours.times[verb], share), quantile(theirs.times[verb], share)]
      const detail = `${mine.toFixed(1)} ms to ${other.toFixed(1)} ms, ${ours.times[verb].length} calls each`
      return { value: mine / other, detail }
    }
    return {
      [rows.addMedian.name]: compare('add', 0.5),
      [rows.addTail.name]: compare('add', 0.99),
      [rows.delMedian.name]: compare('del', 0.5),
    }
  },
}

function side(runtime: Runtime, values: Record<string, unknown>): Side {
  return { runtime, values, times: { add: [], del: [] } }
}

/** The same limits as the tier's cap, in the plugin's terms: bits per second, and bits of burst. */
function bandwidthValues(): Record<string, unknown> {
  const [rate, burst] = [limitedTier.cap, 8 * 2 ** 20]
  return { bandwidth: { ingressRate: rate, ingressBurst: burst, egressRate: rate, egressBurst: burst } }
}

async function measureByTurns(sides: [Side, Side], { quick, progress }: RunContext): Promise<void> {
  const calls = quick ? 30 : 200
  for (const { runtime, values } of sides) {
    for (let call = 0; call < 3; call++) await once(runtime, values, `warm-${call}`)
  }
  for (let call = 0; call < calls; call++) {
    for (const { runtime, values, times } of call % 2 === 0 ? sides : sides.toReversed()) {
      const { add, del } = await once(runtime, values, `call-${call}`)
      times.add.push(add)
      times.del.push(del)
    }
    if ((call + 1) % 50 === 0) progress(`  ${call + 1} of ${calls} calls of ADD and DEL, each side`)
  }
}

async function once(
  runtime: Runtime,
  values: Record<string, unknown>,
  containerId: string,
): Promise<{ add: number; del: number }> {
  await runtime.prepare(containerId)
  const attachment = await runtime.add(containerId, values)
  await sleep(pause)
  const del = await runtime.remove(attachment, values)
  await sleep(pause)
  await runtime.release(containerId)
  return { add: attachment.milliseconds, del }
}
