import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../../src/base/index.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { goldTier, network, type GigabitLab } from './gigabit-lab.ts'
import { endTool, requireTool, runTool, startQuietTool } from './processes.ts'
import { asAnnotations, type Attachment } from './runtime.ts'

const row = { name: 'agent kill -9 and restart, packets lost', unit: 'packets', target: { exactly: 0 } }

/** Packets per second of each flow, and bytes of payload of each. */
const packetRate = 1200
const packetBytes = 200
const port = '5210'

interface UdpFlow {
  name: string
  from: Attachment
  to: Attachment
}

/** UDP with sequence numbers on one node and across nodes, while both agents are killed and started again. */
export const agentRestartGroup: Group<GigabitLab> = {
  rows: [row],
  async measure({ lab, runtimes: [n1, n2] }, _wanted, context) {
    requireTool('iperf3', 'iperf3')
    const tiered = asAnnotations({ network, perfTier: goldTier.name })
    const sender = await n1.attach('kill-sender', tiered)
    const [near, far] = [await n1.attach('kill-near', asAnnotations({ network })), await n2.attach('kill-far', tiered)]
    const flows = [
      { name: 'across nodes', from: sender, to: far },
      { name: 'same node', from: near, to: sender },
    ]
    const kills = context.quick ? 2 : 6
    const seconds = 4 + kills * 4
    const servers = flows.map(({ to }) => startQuietTool(to, ['iperf3', '--server', '--port', port]))
    await sleep(500)
    try {
      const results = Promise.all(flows.map((flow) => countLost(flow, seconds)))
      const [lost] = await Promise.all([results, killByTurns(lab, kills, context)])
      return { [row.name]: verdict(lost, kills, seconds) }
    } finally {
      await Promise.all(servers.map(endTool))
      await Promise.all([n1.detach(sender), n1.detach(near), n2.detach(far)])
    }
  },
}

interface Lost {
  name: string
  packets: number
  lost: number
}

function verdict(flows: Lost[], kills: number, seconds: number): Measurement {
  const slow = flows.find(({ packets }) => packets < 1000 * seconds)
  if (slow)
    return {
      reason: `${slow.name}: only ${slow.packets} packets in ${seconds} s were sent; 1000 per second are needed`,
    }
  const detail = flows.map(({ name, packets, lost }) => `${name} ${lost} of ${packets}`).join(', ')
  return { value: flows.reduce((sum, { lost }) => sum + lost, 0), detail: `${detail}; ${kills} kills` }
}

async function killByTurns(lab: GigabitLab['lab'], kills: number, { progress }: RunContext): Promise<void> {
  await sleep(2000)
  for (let kill = 0; kill < kills; kill++) {
    const node = kill % 2 === 0 ? 'n1' : 'n2'
    const begin = performance.now()
    await lab.killAgent(node)
    await sleep(1000)
    await lab.startAgent(node)
    progress(`  agent of ${node} killed and started, ${kill + 1} of ${kills}`)
    await sleep(Math.max(0, 4000 - (performance.now() - begin)))
  }
}

/** iperf3 numbers its packets; the receiver counts those that did not come. */
async function countLost({ name, from, to }: UdpFlow, seconds: number): Promise<Lost> {
  const rate = String(packetRate * packetBytes * 8)
  const options = ['--udp', '--length', String(packetBytes), '--bitrate', rate, '--time', String(seconds)]
  const command = ['iperf3', '--json', '--client', to.address, '--port', port, ...options]
  const { stdout } = await runTool(from, command, (seconds + 30) * 1000)
  const { end } = JSON.parse(stdout) as { end: { sum?: { packets: number; lost_packets: number } } }
  if (!end.sum) throw new Unavailable(`iperf3 counted no packets: ${stdout.slice(-500)}`)
  return { name, packets: end.sum.packets, lost: end.sum.lost_packets }
}
