import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../../src/base/index.ts'
import { endTool, requireTool, runTool, startQuietTool } from './processes.ts'

/** Two ends of a path that is measured. Namespaces as the host sees them. */
export interface Path {
  client: string
  server: string
  serverAddress: string
}

/** What is measured on a path. */
export type Flow = 'throughput' | 'request-response'

/** Client and server stay on processors of their own, the same ones on every path. */
const processors = availableParallelism() >= 3 ? { server: 1, client: 2 } : { server: undefined, client: undefined }

/**
 * Who else runs on the machine is not what a round trip is measured for. Not for throughput: what keeps a processor busy
 * all the time at this priority keeps the kernel's own work off it.
 */
const atRealTime = ['chrt', '--fifo', '1']

/** Starts what answers a flow at the server's end; returns how to end it. */
export async function startServer(flow: Flow, path: Path): Promise<() => Promise<void>> {
  if (flow === 'request-response') requireTool('qperf', 'qperf')
  else requireTool('iperf3', 'iperf3')
  const command = flow === 'throughput' ? ['iperf3', '--server'] : [...atRealTime, 'qperf']
  const server = startQuietTool({ netns: path.server, processor: processors.server }, command)
  await sleep(300)
  return () => endTool(server)
}

/** Measures a flow for some seconds: bits per second of payload that arrived, or requests answered per second. */
export function measureFlow(flow: Flow, path: Path, seconds: number): Promise<number> {
  return flow === 'throughput' ? measureThroughput(path, seconds) : measureRequests(path, seconds)
}

async function measureThroughput({ client, serverAddress }: Path, seconds: number): Promise<number> {
  const command = ['iperf3', '--json', '--client', serverAddress, '--time', String(seconds)]
  const { stdout } = await runTool({ netns: client, processor: processors.client }, command)
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }
  return end.sum_received.bits_per_second
}

/** qperf tells half the time of a request of one byte and its answer of one byte. */
async function measureRequests({ client, serverAddress }: Path, seconds: number): Promise<number> {
  const command = [
    ...atRealTime,
    'qperf',
    '--unify_units',
    '-e',
    '6',
    '-m',
    '1',
    '-t',
    String(seconds),
    serverAddress,
    'tcp_lat',
  ]
  const { stdout } = await runTool({ netns: client, processor: processors.client }, command)
  const latency = /latency\s*=\s*([\d.]+)\s*ns/.exec(stdout)?.[1]
  if (latency === undefined) throw new Unavailable(`qperf printed no latency: ${stdout.trim()}`)
  return 1e9 / (2 * Number(latency))
}
