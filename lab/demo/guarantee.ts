import { setTimeout as sleep } from 'node:timers/promises'
import type { Container, Lab } from '../index.ts'
import { bits, type Narrator } from './narration.ts'
import { listen, liveEndpoints, liveOf, measure, send, stop } from './traffic.ts'

const floor = 600e6
const cap = 100e6
const link = 1e9
/** A window counts as delivered from this share of the floor on, as in attainment. */
const tolerance = 0.95

/** Step 3: a promised flow against neighbours that fill the node's link, first without tiers, then with. */
export async function showGuarantee(lab: Lab, narrator: Narrator): Promise<void> {
  narrator.step(3, 'Guaranteed bandwidth against noisy neighbours')
  narrator.explain(
    'Everything sends from n1, whose link carries 1 Gbit/s: gold with one TCP stream, a neighbour with 8,',
  )
  narrator.explain(
    'and one that floods 1.2 Gbit/s of UDP. Each line is one second of what the node sent; | is the floor.',
  )
  const [goldSink, noiseSink, tcp, udp] = await Promise.all([
    lab.startContainer({ node: 'n2', name: 'gold-sink', network: 'blue' }),
    lab.startContainer({ node: 'n3', name: 'noise-sink', network: 'blue' }),
    lab.startContainer({ node: 'n1', name: 'tcp-neighbour', network: 'blue' }),
    lab.startContainer({ node: 'n1', name: 'udp-neighbour', network: 'blue' }),
  ])
  await Promise.all([listen(goldSink, [5201]), listen(noiseSink, [5201, 5202])])
  const noise = [send(tcp, noiseSink, 5201, '-P', '8'), send(udp, noiseSink, 5202, '-u', '-b', '1200M', '-l', '1400')]

  let gold = await lab.startContainer({ node: 'n1', name: 'gold', network: 'blue' })
  narrator.say('   Everybody best effort:')
  const alone = await flow(lab, narrator, gold, goldSink, 5, 0)
  narrator.explain(`Without a promise gold gets what the flood leaves: ${bits(average(alone)).trim()}bit/s on average.`)

  await gold.stop()
  gold = await lab.startContainer({ node: 'n1', name: 'gold', network: 'blue', perfTier: 'gold' })
  narrator.say('   gold started again with tier gold (floor 600M):')
  const before = (await liveOf(lab, gold)).windows
  const promised = await flow(lab, narrator, gold, goldSink, 8, floor)
  const { windows } = await liveOf(lab, gold)
  const [kept, judged] = [windows.attained - before.attained, windows.withDemand - before.withDemand]
  const few = judged >= 5 ? '' : ', fewer than the 5 that can be judged by'
  narrator.check(
    judged >= 5 && kept === judged,
    `promised 600M, delivered ${bits(average(promised)).trim()}: floor met in ${kept} of ${judged} one-second windows${few}`,
  )

  narrator.say('   gold idle: what it does not use, the others may:')
  await sleep(1500)
  const idle = await watch(lab, narrator, gold, 3, floor)
  narrator.check(idle.at(-1)!.others >= 0.9 * link, `neighbours use ${bits(idle.at(-1)!.others).trim()} of the link`)
  await Promise.all(noise.map(stop))
  await showCaps(lab, narrator, goldSink)
  await Promise.all([gold, tcp, udp, noiseSink].map((container) => container.stop()))
}

interface Second {
  gold: number
  others: number
}

async function flow(
  lab: Lab,
  narrator: Narrator,
  gold: Container,
  sink: Container,
  seconds: number,
  promised: number,
): Promise<Second[]> {
  const client = send(gold, sink, 5201)
  await sleep(1500)
  const measured = await watch(lab, narrator, gold, seconds, promised)
  await stop(client)
  return measured
}

/** Prints a bar for each second: what left the uplink of gold's node. */
async function watch(
  lab: Lab,
  narrator: Narrator,
  gold: Container,
  seconds: number,
  promised: number,
): Promise<Second[]> {
  const measured: Second[] = []
  for (let second = 0; second < seconds; second++) {
    await sleep(1000)
    const all = await liveEndpoints(lab, gold.node)
    const mine = all.find((live) => live.containerId === gold.id)?.rates.delivered ?? 0
    const others = all.reduce((sum, live) => sum + live.rates.delivered, 0) - mine
    const note = promised === 0 || mine < link / 1000 ? '' : mine >= promised * tolerance ? 'floor met' : 'BELOW FLOOR'
    narrator.bar({ gold: mine, others, link, floor: promised }, note)
    measured.push({ gold: mine, others })
  }
  return measured
}

function average(seconds: Second[]): number {
  return seconds.reduce((sum, second) => sum + second.gold, 0) / seconds.length
}

async function showCaps(lab: Lab, narrator: Narrator, sink: Container): Promise<void> {
  narrator.say(
    '   Caps: a container with tier capped (-B 100M) sends, receives, and talks to a neighbour on its own node:',
  )
  const capped = await lab.startContainer({ node: 'n2', name: 'capped', network: 'blue', perfTier: 'capped' })
  const far = await lab.startContainer({ node: 'n1', name: 'far', network: 'blue' })
  await listen(far, [5201])
  const sending = await measure(capped, far, 5201, 2)
  const receiving = await measure(capped, far, 5201, 2, '-R')
  const sameNode = await measure(capped, sink, 5201, 2)
  for (const [what, rate] of [['sending', sending], ['receiving', receiving], ['to the same node', sameNode]] as const) {
    narrator.check(rate <= cap && rate > cap * 0.8, `${what}: ${bits(rate).trim()}bit/s of 100M`)
  } // prettier-ignore
  await Promise.all([capped, far].map((container) => container.stop()))
}
