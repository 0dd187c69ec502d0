import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import { expect } from 'vitest'
import type { Lab } from '../../lab/index.ts'
import { kubectl } from '../../lab/kubernetes/index.ts'
import { waitFor } from '../../lab/processes.ts'

/** What a test needs of a pod to act in its place on its node, so that it goes on without API server and kubelet. */
interface PodOnNode {
  node: string
  address: string
  /** Of a process in the pod's network, as the node numbers it. */
  pid: string
}

interface UdpReport {
  end: { sum: { packets: number; lost_packets: number } }
}

/** UDP with numbered packets from one pod to another, 2500 each second, by programs of their nodes. */
export class NumberedPackets {
  readonly #sending: Promise<string>
  readonly #server: ChildProcess
  readonly #overflows: () => Promise<number>
  readonly #overflowsBefore: number

  private constructor(
    sending: Promise<string>,
    server: ChildProcess,
    overflows: () => Promise<number>,
    before: number,
  ) {
    this.#sending = sending
    this.#server = server
    this.#overflows = overflows
    this.#overflowsBefore = before
    sending.catch(() => {}) // told by `lost`
  }

  /** Begins to send, for so many seconds. */
  static async between(lab: Lab, from: string, to: string, seconds: number): Promise<NumberedPackets> {
    const [client, receiver] = await Promise.all([findPod(lab, from), findPod(lab, to)])
    const inside = ({ pid }: PodOnNode): string[] => ['nsenter', `--net=/proc/${pid}/ns/net`]
    const server = lab.nodeSpawn(receiver.node, [...inside(receiver), 'iperf3', '--server', '--one-off'])
    const listening = ['ss', '--listening', '--tcp', '--numeric', '--no-header', 'sport = :5201']
    const isListening = async (): Promise<boolean> =>
      (await lab.nodeExec(receiver.node, [...inside(receiver), ...listening])).stdout !== ''
    await waitFor(`iperf3 in pod ${to}`, isListening, { deadline: 60_000, interval: 50 })
    const overflows = (): Promise<number> => receiveOverflows(lab, receiver)
    const before = await overflows()
    const load = ['--udp', '--bitrate', '20M', '--length', '1000', '--time', String(seconds), '--json']
    const sending = lab.nodeExec(client.node, [...inside(client), 'iperf3', '--client', receiver.address, ...load], {
      deadline: (seconds + 60) * 1000,
    })
    return new NumberedPackets(sending.then(({ stdout }) => stdout), server, overflows, before) // prettier-ignore
  }

  /**
   * How many the network lost, once the time is up: those that did not arrive, but for what a receiver that had no
   * processor for longer than its socket has room had to drop itself.
   */
  async lost(): Promise<number> {
    const { packets, lost_packets: missing } = (JSON.parse(await this.#sending) as UdpReport).end.sum
    if (this.#server.exitCode === null) await once(this.#server, 'exit')
    expect(packets).toBeGreaterThan(1000)
    return Math.max(0, missing - ((await this.#overflows()) - this.#overflowsBefore))
  }
}

/** Datagrams that the sockets of a pod had no room for, since it began. */
async function receiveOverflows(lab: Lab, { node, pid }: PodOnNode): Promise<number> {
  const { stdout } = await lab.nodeExec(node, ['grep', '^Udp:', `/proc/${pid}/net/snmp`])
  const [names, values] = stdout.trim().split('\n').map((line) => line.split(' ')) // prettier-ignore
  return Number(values![names!.indexOf('RcvbufErrors')])
}

interface FioReport {
  jobs: { error: number; read: { total_ios: number }; write: { total_ios: number } }[]
}

/** Reads and writes at random on the filesystem of a pod's only claim, for so many seconds; fails with the first I/O error. */
export async function useVolume(lab: Lab, pod: string, seconds: number): Promise<{ reads: number; writes: number }> {
  const { node } = await findPod(lab, pod)
  const uid = await kubectl(['get', 'pod', pod, '-o', 'jsonpath={.metadata.uid}'])
  const { stdout } = await lab.nodeExec(node, ['sh', '-c', `echo /var/lib/kubelet/pods/${uid}/volumes/kubernetes.io~csi/*/mount`]) // prettier-ignore
  const load = ['--rw=randrw', '--bs=4k', '--size=16M', '--direct=1', '--ioengine=libaio', '--iodepth=4']
  const pace = ['--time_based', `--runtime=${seconds}`, '--rate_iops=200']
  const fio = ['fio', '--name=beside', `--directory=${stdout.trim()}`, ...load, ...pace, '--output-format=json']
  const report = JSON.parse((await lab.nodeExec(node, fio, { deadline: (seconds + 60) * 1000 })).stdout) as FioReport
  const { error, read, write } = report.jobs[0]!
  expect(error).toBe(0)
  return { reads: read.total_ios, writes: write.total_ios }
}

/** Finds a pod that runs `sleep infinity` by the address that is seen from inside. */
async function findPod(lab: Lab, name: string): Promise<PodOnNode> {
  const [node, address] = (
    await kubectl(['get', 'pod', name, '-o', 'jsonpath={.spec.nodeName} {.status.podIP}'])
  ).split(' ') as [string, string]
  const { stdout } = await lab.nodeExec(node, ['pgrep', '-f', '^sleep infinity'])
  for (const pid of stdout.trim().split('\n')) {
    const look = ['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-4', 'addr']
    const seen = await lab.nodeExec(node, look).catch(() => ({ stdout: '' }))
    if (seen.stdout.includes(`${address}/`)) return { node, address, pid }
  }
  throw new Error(`no process of pod ${name} on ${node}`)
}
