import { setTimeout as sleep } from 'node:timers/promises'
import type { LiveEndpoint } from '../../src/network/live-endpoint.ts'
import type { Container, Lab } from '../index.ts'

/** Asks the agent of a node, through control, as dctl does. */
export async function liveEndpoints(lab: Lab, node: string): Promise<LiveEndpoint[]> {
  const path = `/apis/carbonado.io/v1alpha1/nodes/${node}/proxy/v1/endpoints`
  return (await lab.store.getJson<{ endpoints: LiveEndpoint[] }>(path)).endpoints
}

/** The live figures of a container's first endpoint. */
export async function liveOf(lab: Lab, container: Container): Promise<LiveEndpoint> {
  const found = (await liveEndpoints(lab, container.node)).find((live) => live.containerId === container.id)
  if (!found) throw new Error(`the agent of ${container.node} knows nothing of ${container.name}`)
  return found
}

/** Starts iperf3 servers in a container on the given ports; they end with the container. */
export async function listen(container: Container, ports: number[]): Promise<void> {
  for (const port of ports) container.spawn(['iperf3', '-s', '-p', String(port)]).on('error', () => {})
  await sleep(400)
}

/** Starts an iperf3 client, for ten minutes; end it with `stop`. */
export function send(from: Container, to: Container, port: number, ...options: string[]): Container {
  const client = from.spawn(['iperf3', '-c', to.address, '-p', String(port), '-t', '600', ...options])
  client.on('error', () => {})
  client.stdout!.resume()
  return from
}

/** Ends the clients of a container. */
export async function stop(from: Container): Promise<void> {
  await from.exec(['pkill', '-KILL', '-x', 'iperf3'])
}

/** Runs one transfer for some seconds and returns bits per second of payload that arrived. */
export async function measure(
  from: Container,
  to: Container,
  port: number,
  seconds: number,
  ...options: string[]
): Promise<number> {
  const command = ['iperf3', '-J', '-c', to.address, '-p', String(port), '-t', String(seconds), '-O', '1', ...options]
  const { stdout } = await from.exec(command, { deadline: 30_000 })
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }
  return end.sum_received.bits_per_second
}
