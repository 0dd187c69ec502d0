import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Unavailable } from '../../src/base/index.ts'
import type { Lab } from '../../lab/index.ts'
import { liveEndpoints } from '../../lab/demo/traffic.ts'
import { quantile } from '../statistics.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { judgeFloor, type Arrivals, type Demand, type FloorVerdict } from './floor-windows.ts'
import { goldTier, linkRate, network, type GigabitLab } from './gigabit-lab.ts'
import { linkUse, readLink, type LinkReading } from './link-use.ts'
import { prepareNoise, type Noise, type NoiseKind } from './noise.ts'
import { endTool, startTool } from './processes.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const rows = {
  receiver: { name: 'floor attainment, at the receiver', unit: '% of windows', target: { atLeast: 99 } },
  agent: { name: 'floor attainment, by the agent', unit: '% of windows', target: { atLeast: 99 } },
  untilFull: { name: 'time until the full floor', unit: 'ms', target: { atMost: 500 } },
  flooding: { name: 'link use while flooding', unit: '% of the link', target: { atLeast: 95 } },
  bestEffort: { name: 'link use by best effort alone', unit: '% of the link', target: { atLeast: 95 } },
}

/** Milliseconds that gold sends, and is idle. */
const phase = 5000
const sinkPort = '5300'

/**
 * L2 bytes of a full frame, as floors are counted, for its bytes of payload: MTU 1496, Ethernet 14; IPv4 20 and TCP with
 * timestamps 32 are in the MTU.
 */
const frameBytes = (1496 + 14) / (1496 - 20 - 32)

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
      runGold(gold, sink, context),
    ])
    const windows = await windowsOf(place.lab, gold)
    const attained = windows.attained - windowsBefore.attained
    return {
      ...floorRows(judgeFloor(arrivals, demands, goldTier.floor / 8 / frameBytes)),
      [rows.agent.name]: share(attained, windows.withDemand - windowsBefore.withDemand, 'judged in eBPF at the sender'),
      [rows.flooding.name]: link,
    }
  } finally {
    await noise.stop()
    await Promise.all([n1.detach(gold), n2.detach(sink)])
  }
}

function floorRows({ windows, attained, missedSeconds, lowest, untilFull }: FloorVerdict): Record<string, Measurement> {
  const missed = missedSeconds.length > 0 ? `; missed in second ${missedSeconds.join(', ')} of the demand` : ''
  const worst = Math.max(...untilFull)
  const median = quantile(untilFull, 0.5)
  const reason = 'the full floor never came in at least one of the times that gold sent'
  return {
    [rows.receiver.name]: share(
      attained,
      windows,
      `lowest window ${(100 * lowest).toFixed(1)} % of the floor${missed}`,
    ),
    [rows.untilFull.name]: Number.isFinite(worst)
      ? { value: worst, detail: `worst of ${untilFull.length}, median ${median.toFixed(0)} ms, 100 ms of it to see it` }
      : { reason },
  }
}

function share(attained: number, windows: number, more: string): Measurement {
  if (windows === 0) return { reason: 'there was not one window with demand' }
  return { value: (100 * attained) / windows, detail: `${attained} of ${windows} windows, ${more}` }
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

/** Lets gold send and be idle by turns; returns when it sent, and what arrived when. */
async function runGold(
  gold: Attachment,
  sink: Attachment,
  { quick, progress }: RunContext,
): Promise<{ arrivals: Arrivals; demands: Demand[] }> {
  const cycles = quick ? 3 : 30
  const receiver = startProgram(sink, 'gold-sink.ts', [sinkPort])
  const sender = await receiver.line().then(() => {
    const args = [sink.address, sinkPort, String(phase), String(phase), String(cycles)]
    return startProgram(gold, 'gold-sender.ts', args)
  })
  try {
    const demands: Demand[] = []
    for (let cycle = 0; cycle < cycles; cycle++) {
      demands.push(JSON.parse(await sender.line()) as Demand)
      progress(`  gold on and off, ${cycle + 1} of ${cycles}`)
    }
    await sleep(phase)
    receiver.child.stdin!.end()
    return { arrivals: JSON.parse(await receiver.line()) as Arrivals, demands }
  } finally {
    await Promise.all([endTool(sender.child), endTool(receiver.child)])
  }
}

interface Program {
  child: ChildProcess
  /** The next line that it prints. Throws Unavailable when it ends before. */
  line(): Promise<string>
}

/** Ahead of the neighbours' tools in the queue for processors: those are not what a floor promises. */
function startProgram(place: Attachment, file: string, args: string[]): Program {
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url))
  const child = startTool({ netns: place.netns }, ['nice', '--adjustment=-10', process.execPath, path, ...args])
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    child,
    async line() {
      const { value, done } = await lines.next()
      if (done === true) throw new Unavailable(`${file} ended before it was done`)
      return value
    },
  }
}

async function windowsOf(lab: Lab, { containerId }: Attachment): Promise<{ withDemand: number; attained: number }> {
  const live = (await liveEndpoints(lab, 'n1')).find((endpoint) => endpoint.containerId === containerId)
  if (!live) throw new Unavailable(`the agent of n1 does not know ${containerId}`)
  return live.windows
}
