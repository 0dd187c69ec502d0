import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { network, type GigabitLab } from './gigabit-lab.ts'
import { endTool, requireTool, startQuietTool } from './processes.ts'
import { asAnnotations } from './runtime.ts'

/** A neighbour that tries to fill the link of n1: TCP with 8 streams, or UDP above the link rate. */
export type NoiseKind = 'TCP' | 'UDP'

/** Neighbours without a tier on n1, and the sinks of what they send on n3. */
export interface Noise {
  /** Starts a neighbour; it sends until `stop`. */
  start(kind: NoiseKind): Promise<void>
  stop(): Promise<void>
  /** Ends everything and detaches it. */
  end(): Promise<void>
}

const ports: Record<NoiseKind, string> = { TCP: '5201', UDP: '5202' }
const floods: Record<NoiseKind, string[]> = {
  TCP: ['--parallel', '8'],
  UDP: ['--udp', '--bitrate', '1200M', '--length', '1400'],
}

/** Attaches neighbours and sinks. */
export async function prepareNoise({ runtimes: [n1, , n3] }: GigabitLab): Promise<Noise> {
  requireTool('iperf3', 'iperf3')
  const wish = asAnnotations({ network })
  const sink = await n3.attach('noise-sink', wish)
  const neighbours = { TCP: await n1.attach('noise-tcp', wish), UDP: await n1.attach('noise-udp', wish) }
  const servers = Object.values(ports).map((port) => startQuietTool(sink, ['iperf3', '--server', '--port', port]))
  await sleep(500)
  let clients: ChildProcess[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(clients.map(endTool))
    clients = []
    await sleep(500) // the servers notice
  }
  return {
    async start(kind) {
      const command = ['iperf3', '--client', sink.address, '--port', ports[kind], '--time', '3600', ...floods[kind]]
      clients.push(startQuietTool(neighbours[kind], command))
      await sleep(1000)
    },
    stop,
    async end() {
      await stop()
      await Promise.all(servers.map(endTool))
      await Promise.all([n1.detach(neighbours.TCP), n1.detach(neighbours.UDP), n3.detach(sink)])
    },
  }
}
