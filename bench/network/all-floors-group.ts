import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { floodOptions, startFloods, type Flood } from './floods.ts'
import { describeUntilFull, shareOfWindows } from './floor-verdict.ts'
import { judgeFloor, type FloorVerdict } from './floor-windows.ts'
import { createTier } from './fresh-lab.ts'
import { network, type GigabitLab } from './gigabit-lab.ts'
import { payloadOf, runGold } from './gold-flow.ts'
import { endTool, requireTool, startInLab } from './processes.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const rows = {
  attainment: { name: 'send, receive and same-node floors at once', unit: '% of windows', target: { atLeast: 98 } },
  untilFull: { name: 'time until the full floor, all at once', unit: 'ms' },
}

/** A third of what can be promised on a link of 1 Gbit/s. */
const tier = { name: 'third', floor: 300e6 }
const betweenRestarts = 20_000
const directions = ['sending', 'receiving', 'on one node'] as const

/**
 * Three endpoints of n1 with floors, one that sends, one that receives, one that receives from its own node, all on and
 * off, while best effort floods n1 in all three ways, every processor is busy, and the agent of n1 is killed again and
 * again.
 */
export const allFloorsGroup: Group<GigabitLab> = {
  rows: Object.values(rows),
  async measure(place, _wanted, context) {
    requireTool('stress-ng', 'stress-ng')
    const { lab } = place
    await createTier(lab, tier.name, tier.floor)
    await using stage = await attachAll(place)
    const endFloods = await startFloods(stage.floods)
    const stress = startInLab(['stress-ng', '--cpu', String(availableParallelism()), '--timeout', '900', '--quiet'])
    const restarts = restartAgent(place, context)
    try {
      await sleep(2000)
      const cycles = context.quick ? 4 : 30
      const runs = stage.golds.map(({ from, to }, index) =>
        runGold(from, to, cycles, (text) => context.progress(`${text}: ${directions[index]}`)),
      )
      const verdicts = (await Promise.all(runs)).map(({ arrivals, demands }) =>
        judgeFloor(arrivals, demands, payloadOf(tier.floor)),
      )
      return describe(verdicts, await restarts.end())
    } finally {
      await restarts.end()
      await endTool(stress)
      await endFloods()
    }
  },
}

function describe(verdicts: FloorVerdict[], restarts: number): Record<string, Measurement> {
  const windows = verdicts.reduce((sum, verdict) => sum + verdict.windows, 0)
  const attained = verdicts.reduce((sum, verdict) => sum + verdict.attained, 0)
  const each = verdicts.map((verdict, index) => {
    const missed = verdict.missedSeconds.length === 0 ? '' : `, missed second ${verdict.missedSeconds.join(' ')}`
    return `${directions[index]} ${verdict.attained} (lowest ${(100 * verdict.lowest).toFixed(0)} %${missed})`
  })
  const untilFull = verdicts.flatMap((verdict) => verdict.untilFull)
  return {
    [rows.attainment.name]: shareOfWindows(attained, windows, `${each.join('; ')}; ${restarts} kills of the agent`),
    [rows.untilFull.name]: describeUntilFull({ ...verdicts[0]!, untilFull }),
  }
}

interface Cast extends AsyncDisposable {
  golds: { from: Attachment; to: Attachment }[]
  floods: Flood[]
}

async function attachAll({ runtimes: [n1, n2, n3] }: GigabitLab): Promise<Cast> {
  const detach: (() => Promise<void>)[] = []
  const attach = async (runtime: typeof n1, name: string, perfTier?: string): Promise<Attachment> => {
    const one = await runtime.attach(name, asAnnotations({ network, ...(perfTier === undefined ? {} : { perfTier }) }))
    detach.push(() => runtime.detach(one))
    return one
  }
  const golds = [
    { from: await attach(n1, 'all-gold-sends', tier.name), to: await attach(n2, 'all-takes') },
    { from: await attach(n3, 'all-gives'), to: await attach(n1, 'all-gold-receives', tier.name) },
    { from: await attach(n1, 'all-gives-here'), to: await attach(n1, 'all-gold-here', tier.name) },
  ]
  const [here, elsewhere] = [await attach(n1, 'all-sink-here'), await attach(n3, 'all-sink-elsewhere')]
  const [near, far] = [await attach(n1, 'all-noise-near'), await attach(n2, 'all-noise-far')]
  const { TCP, UDP } = floodOptions
  const floods = [
    { from: near, to: elsewhere, options: TCP },
    { from: near, to: elsewhere, options: UDP },
    { from: far, to: here, options: TCP },
    { from: far, to: here, options: UDP },
    { from: near, to: here, options: UDP },
  ]
  return {
    golds,
    floods,
    async [Symbol.asyncDispose]() {
      for (const one of detach) await one()
    },
  }
}

/** Kills the agent of n1 and starts it again, until it is ended; that returns how often. */
function restartAgent({ lab }: GigabitLab, { progress }: RunContext): { end(): Promise<number> } {
  const ending = new AbortController()
  let count = 0
  const run = async (): Promise<void> => {
    for (;;) {
      await sleep(betweenRestarts, undefined, { signal: ending.signal })
      await lab.killAgent('n1')
      await lab.startAgent('n1')
      progress(`  agent of n1 killed and started, ${++count}`)
    }
  }
  let failure: Error | undefined
  const running = run().catch((error: Error) => {
    if (error.name !== 'AbortError') failure = error
  })
  return {
    async end() {
      ending.abort()
      await running
      if (failure) throw failure
      return count
    },
  }
}
