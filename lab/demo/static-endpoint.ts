import { setTimeout as sleep } from 'node:timers/promises'
import type { Container, Lab } from '../index.ts'
import type { Narrator } from './narration.ts'
import { showDctl } from './networks.ts'

const interval = 20

/** Step 5: a static endpoint keeps address and MAC when its container dies and starts on another node. */
export async function showStaticEndpoint(lab: Lab, narrator: Narrator, peer: Container): Promise<void> {
  narrator.step(5, 'A static endpoint follows its container')
  await showDctl(lab, narrator, 'endpoint create db -n blue -i 10.30.0.50')
  const first = await lab.startContainer({ node: 'n1', name: 'db', endpointId: 'db' })
  narrator.explain(`db runs on n1 as ${first.address} ${first.mac}; peer pings it every ${interval} ms.`)
  const ping = peer.spawn(['ping', '-D', '-i', String(interval / 1000), first.address])
  const replies: number[] = []
  ping.stdout!.on('data', (part: Buffer) => {
    for (const match of part.toString().matchAll(/^\[(\d+\.\d+)\] \d+ bytes/gm)) replies.push(Number(match[1]) * 1000)
  })
  await sleep(1000)
  narrator.explain('The container on n1 is killed, and started on n3:')
  await first.kill()
  const second = await lab.startContainer({ node: 'n3', name: 'db', endpointId: 'db' })
  await sleep(1000)
  ping.kill()
  narrator.check(second.address === first.address, `same IP on n3: ${second.address}`)
  narrator.check(second.mac === first.mac, `same MAC on n3: ${second.mac}`)
  const gaps = replies.slice(1).map((time, i) => time - replies[i]!)
  const outage = Math.max(...gaps)
  narrator.check(
    replies.length > 50 && outage < 5000,
    `outage that peer saw: ${Math.round(outage)} ms, container start included`,
  )
}
