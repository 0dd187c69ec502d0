import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { endTool, requireTool, startQuietTool } from './processes.ts'
import type { Attachment } from './runtime.ts'

/** A best-effort neighbour that sends as much as it can. */
export interface Flood {
  from: Attachment
  to: Attachment
  /** Arguments of the iperf3 client beside the address. */
  options: string[]
}

/** TCP with 8 streams, and UDP at 1.25 of a link of 1 Gbit/s. */
export const floodOptions = { TCP: ['--parallel', '8'], UDP: ['--udp', '--bitrate', '1250M', '--length', '1400'] }

/** Starts floods, each with a server of its own; returns how to end them. */
export async function startFloods(floods: Flood[]): Promise<() => Promise<void>> {
  requireTool('iperf3', 'iperf3')
  const port = (index: number): string => String(5400 + index)
  const servers = floods.map(({ to }, index) => startQuietTool(to, ['iperf3', '--server', '--port', port(index)]))
  await sleep(500)
  const clients: ChildProcess[] = []
  for (const [index, { from, to, options }] of floods.entries()) {
    const command = ['iperf3', '--client', to.address, '--port', port(index), '--time', '3600', ...options]
    clients.push(startQuietTool(from, command))
    await sleep(300) // one after the other, so that the control connection of the next gets through
  }
  return async () => {
    await Promise.all([...clients, ...servers].map(endTool))
  }
}
