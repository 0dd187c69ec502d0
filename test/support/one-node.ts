import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { silentLogger } from '../../src/base/index.ts'
import type { PlaneReserve } from '../../src/guarantee/index.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { createSoftVfEngine } from '../../src/network/soft-vf/index.ts'
import { run, runIn } from './own-namespaces.ts'

/** Where the node's programs and maps are pinned. */
export const pins = '/sys/fs/bpf/carbonado'

/** The address of the host at the other end of the uplink's wire; untagged. */
export const wireAddress = '10.30.0.1'

/** Makes this namespace a node: an uplink whose other end is the host `wire`. */
export function makeNode(): void {
  run('ip', 'netns', 'add', 'wire')
  run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'port', 'netns', 'wire')
  run('ip', 'link', 'set', 'eth0', 'up')
  runIn('wire', 'ip', 'address', 'add', `${wireAddress}/24`, 'dev', 'port')
  runIn('wire', 'ip', 'link', 'set', 'port', 'up')
}

/** An engine for this node; `linkRate` in bits per second, with what is kept of it for other planes. */
export async function startEngine(linkRate = 1e9, reserves: PlaneReserve[] = []): Promise<NetworkEngine> {
  const engine = createSoftVfEngine({
    uplink: 'eth0',
    limits: { linkRate, reserves },
    objects: 'build/bpf',
    pins,
    logger: silentLogger(),
  })
  await engine.start()
  return engine
}

/** Makes a network namespace and the request that attaches it as 10.30.0.NUMBER and fd00:30::NUMBER. */
export function container(number: number, settings: Partial<AttachRequest> = {}): AttachRequest {
  const name = `container${number}`
  run('ip', 'netns', 'add', name)
  return {
    endpointId: randomUUID(),
    endpointName: `default/${name}`,
    containerId: name,
    netns: `/run/netns/${name}`,
    interfaceName: 'eth0',
    macAddress: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`,
    addresses: [
      { address: `10.30.0.${number}`, prefixLength: 24 },
      { address: `fd00:30::${number}`, prefixLength: 64 },
    ],
    vlan: 0,
    bandwidthFloor: 0,
    ...settings,
  }
}

/** A transfer of iperf3: from a namespace, to an address in another one. */
export interface Transfer {
  from: string
  to: string
  address: string
  /** Further options of the client. */
  options?: string[]
}

/**
 * Runs a transfer and returns received bits per second of payload. Each has a server of its own: one that has just served
 * listens anew, and resets who came a moment too soon.
 */
export async function iperf({ from, to, address, options = [] }: Transfer): Promise<number> {
  const server = spawn('nsenter', [`--net=/run/netns/${to}`, 'iperf3', '-s', '-1', '--forceflush'])
  const ended = once(server, 'close')
  await new Promise<void>((resolve) =>
    server.stdout.on('data', (part) => String(part).includes('listening') && resolve()),
  )
  try {
    return await iperfClient(from, '-c', address, ...options)
  } finally {
    server.kill()
    await ended
  }
}

async function iperfClient(namespace: string, ...options: string[]): Promise<number> {
  const client = spawn('nsenter', [`--net=/run/netns/${namespace}`, 'iperf3', '-J', ...options])
  let text = ''
  client.stdout.on('data', (part) => (text += String(part)))
  await new Promise((resolve) => client.on('close', resolve))
  const report = JSON.parse(text) as {
    error?: string
    end: { sum?: { bits_per_second: number; lost_percent: number }; sum_received?: { bits_per_second: number } }
  }
  if (report.error) throw new Error(report.error)
  return report.end.sum_received?.bits_per_second ?? report.end.sum!.bits_per_second
}
