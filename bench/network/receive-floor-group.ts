import { setTimeout as sleep } from 'node:timers/promises'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { floodOptions, startFloods, type Flood } from './floods.ts'
import { describeWindows, describeUntilFull } from './floor-verdict.ts'
import { judgeFloor } from './floor-windows.ts'
import { goldTier, linkRate, network, type GigabitLab } from './gigabit-lab.ts'
import { payloadOf, runGold } from './gold-flow.ts'
import { linkUse, readLink } from './link-use.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const rows = {
  attainment: { name: 'receive floor attainment', unit: '% of windows', target: { atLeast: 99 } },
  untilFull: { name: 'time until the full receive floor', unit: 'ms', target: { atMost: 1000 } },
  flooding: { name: 'link use towards a flooded node', unit: '% of the link' },
  idle: { name: 'link use towards a flooded node, gold idle', unit: '% of the link', target: { atLeast: 95 } },
}

/** Gold receives on n1, on and off, while its neighbours there are flooded from n2 and n3 by TCP and UDP. */
export const receiveFloorGroup: Group<GigabitLab> = {
  rows: Object.values(rows),
  async measure({ runtimes: [n1, n2, n3] }, _wanted, context) {
    const wish = asAnnotations({ network })
    const attached: Attachment[] = []
    const attach = async (runtime: typeof n1, name: string, perfTier?: string): Promise<Attachment> => {
      const one = await runtime.attach(name, perfTier === undefined ? wish : asAnnotations({ network, perfTier }))
      attached.push(one)
      return one
    }
    const sinks = [await attach(n1, 'flooded-1'), await attach(n1, 'flooded-2')] as const
    const sources = [await attach(n2, 'flood-1'), await attach(n3, 'flood-2')] as const
    const [gold, source] = [await attach(n1, 'gold-receiver', goldTier.name), await attach(n2, 'gold-source')]
    const floods = sources.flatMap((from, index): Flood[] =>
      Object.values(floodOptions).map((options) => ({ from, to: sinks[index]!, options })),
    )
    const end = await startFloods(floods)
    try {
      await sleep(2000)
      const idle = await measureUse(context, context.quick ? 5000 : 20_000, 'gold idle')
      return { ...(await measureGold(source, gold, context)), [rows.idle.name]: idle }
    } finally {
      await end()
      for (const [index, one] of attached.entries()) await [n1, n1, n2, n3, n1, n2][index]!.detach(one)
    }
  },
}

async function measureUse({ progress }: RunContext, duration: number, what: string): Promise<Measurement> {
  progress(`use of the link towards n1: ${what}`)
  const before = await readLink('n1', 'received')
  await sleep(duration)
  const after = await readLink('n1', 'received')
  const drops = `${after.drops - before.drops} frames dropped by the port`
  return { value: 100 * linkUse(before, after, linkRate), detail: `of all receivers together; ${drops}` }
}

async function measureGold(
  source: Attachment,
  gold: Attachment,
  context: RunContext,
): Promise<Record<string, Measurement>> {
  const [use, { arrivals, demands }] = await Promise.all([
    measureUse(context, context.quick ? 30_000 : 300_000, 'gold on and off'),
    runGold(source, gold, context.quick ? 3 : 30, (text) => context.progress(text)),
  ])
  const verdict = judgeFloor(arrivals, demands, payloadOf(goldTier.floor))
  return {
    [rows.attainment.name]: describeWindows(verdict),
    [rows.untilFull.name]: describeUntilFull(verdict),
    [rows.flooding.name]: use,
  }
}
