import { setTimeout as sleep } from 'node:timers/promises'
import type { Container, Lab } from '../index.ts'
import { bits, type Narrator } from './narration.ts'
import { listen, liveEndpoints, send, stop } from './traffic.ts'

const floor = 600e6
const link = 1e9
const tolerance = 0.95

/** Step 4: a promised flow into a node that is flooded from two others. */
export async function showReceiveFloor(lab: Lab, narrator: Narrator): Promise<void> {
  narrator.step(4, 'A gold receiver keeps its floor')
  narrator.explain(
    'Now everything is sent to n1: n2 and n3 flood a neighbour there, each with 8 TCP streams and with UDP above',
  )
  narrator.explain(
    'the rate of the link. What the switch drops is lost, so the agent of n1 tells n2 and n3 to hold back.',
  )
  const [gold, sink, source, ...noise] = await Promise.all([
    lab.startContainer({ node: 'n1', name: 'gold-receiver', network: 'blue', perfTier: 'gold' }),
    lab.startContainer({ node: 'n1', name: 'flooded', network: 'blue' }),
    lab.startContainer({ node: 'n2', name: 'gold-source', network: 'blue' }),
    ...['n2', 'n3'].map((node) => lab.startContainer({ node, name: `flood-from-${node}`, network: 'blue' })),
  ])
  await Promise.all([listen(gold, [5201]), listen(sink, [5211, 5212, 5221, 5222])])
  for (const [index, from] of noise.entries()) {
    send(from, sink, 5211 + index * 10, '-P', '8')
    send(from, sink, 5212 + index * 10, '-u', '-b', '1200M', '-l', '1400')
    await sleep(300)
  }
  await sleep(1000)
  narrator.say('   gold idle: the neighbour has the link.')
  const idle = await watch(lab, narrator, gold, 2, 0)
  narrator.check(idle.at(-1)!.others >= 0.9 * link, `the neighbour receives ${bits(idle.at(-1)!.others).trim()}`)
  narrator.say('   gold receives one TCP stream:')
  send(source, gold, 5201)
  await sleep(1200)
  const promised = await watch(lab, narrator, gold, 4, floor)
  const kept = promised.filter((second) => second.gold >= floor * tolerance).length
  narrator.check(kept === promised.length, `promised 600M: floor met in ${kept} of ${promised.length} seconds`)
  await Promise.all([source, ...noise].map(stop))
  await Promise.all([gold, sink, source, ...noise].map((container) => container.stop()))
}

/** Prints a bar for each second: what the endpoints of gold's node received. */
async function watch(
  lab: Lab,
  narrator: Narrator,
  gold: Container,
  seconds: number,
  promised: number,
): Promise<{ gold: number; others: number }[]> {
  const measured = []
  for (let second = 0; second < seconds; second++) {
    await sleep(1000)
    const all = await liveEndpoints(lab, gold.node)
    const mine = all.find((live) => live.containerId === gold.id)?.rates.received ?? 0
    const others = all.reduce((sum, live) => sum + live.rates.received, 0) - mine
    const note = promised === 0 ? '' : mine >= promised * tolerance ? 'floor met' : 'BELOW FLOOR'
    narrator.bar({ gold: mine, others, link, floor: promised }, note)
    measured.push({ gold: mine, others })
  }
  return measured
}
