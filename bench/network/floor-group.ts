import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../../src/base/index.ts'
import type { Lab } from '../../lab/index.ts'
import { liveEndpoints } from '../../lab/demo/traffic.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { describeUntilFull, describeWindows, shareOfWindows } from './floor-verdict.ts'
import { judgeFloor } from './floor-windows.ts'
import { goldTier, linkRate, network, type GigabitLab } from './gigabit-lab.ts'
import { linkUse, readLink, type LinkReading } from './link-use.ts'
import { prepareNoise, type Noise, type NoiseKind } from './noise.ts'
import { payloadOf, runGold } from './gold-flow.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const rows = {
  receiver: { name: 'floor attainment, at the receiver', unit: '% of windows', target: { atLeast: 99 } },
  agent: { name: 'floor attainment, by the agent', unit: '% of windows', target: { atLeast: 99 } },
  untilFull: { name: 'time until the full floor', unit: 'ms', target: { atMost: 500 } },
  flooding: { name: 'link use while flooding', unit: '% of the link', target: { atLeast: 95 } },
  bestEffort: { name: 'link use by best effort alone', unit: '% of the link', target: { atLeast: 95 } },
}

/** Gold with a floor, on and off, against neighbours that fill the link of its node. */
export const floorGroup: Group<GigabitLab> = {
  rows: Object.values(rows),
  async measure(place, wanted, context) {
    const noise = await prepareNoise(place)
    try {
      const alone = wanted.has(rows.bestEffort.name) ? await measureBestEffort(noise, context) : undefined
      const isFlooding = Object.values(rows).some((row) => row !== rows.bestEffort && wanted.has(row.name))
      const flooded = isFlooding ? await measureFlooded(place, noise, context) : {}
      return { ...flooded, ...(alone ? { [rows.bestEffort.name]: alone } : {}) }
    } finally {
      await noise.end()
    }
  },
}

/** Each kind of neighbour alone on the link; the lower use counts. */
async function measureBestEffort(noise: Noise, { quick, progress }: RunContext): Promise<Measurement> {
  const uses: number[] = []
  for (const kind of ['TCP', 'UDP'] satisfies NoiseKind[]) {
    progress(`best effort alone: ${kind}`)
    await noise.start(kind)
    const before = await readLink('n1')
    await sleep(quick ? 5000 : 20_000)
    uses.push(100 * linkUse(before, await readLink('n1'), linkRate))
    await noise.stop()
  }
  return { value: Math.min(...uses), detail: `TCP ${uses[0]!.toFixed(1)} %, UDP ${uses[1]!.toFixed(1)} %` }
}

async function measureFlooded(
  place: GigabitLab,
  noise: Noise,
  context: RunContext,
): Promise<Record<string, Measurement>> {
  const [n1, n2] = place.runtimes
  const gold = await n1.attach('gold', asAnnotations({ network, perfTier: goldTier.name }))
  const sink = await n2.attach('gold-sink', asAnnotations({ network }))
  try {
    for (const kind of ['TCP', 'UDP'] satisfies NoiseKind[]) await noise.start(kind)
    const windowsBefore = await windowsOf(place.lab, gold)
    const [link, { arrivals, demands }] = await Promise.all([
      watchLink(context.quick ? 30_000 : 300_000),
      runGold(gold, sink, context.quick ? 3 : 30, (text) => context.progress(text)),
    ])
    const windows = await windowsOf(place.lab, gold)
    const attained = windows.attained - windowsBefore.attained
    const verdict = judgeFloor(arrivals, demands, payloadOf(goldTier.floor))
    return {
      [rows.receiver.name]: describeWindows(verdict),
      [rows.untilFull.name]: describeUntilFull(verdict),
      [rows.agent.name]: shareOfWindows(
        attained,
        windows.withDemand - windowsBefore.withDemand,
        'judged in eBPF at the sender',
      ),
      [rows.flooding.name]: link,
    }
  } finally {
    await noise.stop()
    await Promise.all([n1.detach(gold), n2.detach(sink)])
  }
}

/** Use of the link of n1 as long as gold goes on and off, and that of its least used ten seconds. */
async function watchLink(duration: number): Promise<Measurement> {
  const readings: LinkReading[] = [await readLink('n1')]
  const end = performance.now() + duration
  while (performance.now() < end) {
    await sleep(10_000)
    readings.push(await readLink('n1'))
  }
  const [first, last] = [readings[0]!, readings.at(-1)!]
  const parts = readings.slice(1).map((reading, index) => 100 * linkUse(readings[index]!, reading, linkRate))
  const detail = `least in 10 s: ${Math.min(...parts).toFixed(1)} %; ${last.drops - first.drops} frames dropped by the port`
  return { value: 100 * linkUse(first, last, linkRate), detail }
}

async function windowsOf(lab: Lab, { containerId }: Attachment): Promise<{ withDemand: number; attained: number }> {
  const live = (await liveEndpoints(lab, 'n1')).find((endpoint) => endpoint.containerId === containerId)
  if (!live) throw new Unavailable(`the agent of n1 does not know ${containerId}`)
  return live.windows
}
