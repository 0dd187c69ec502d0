import { setTimeout as sleep } from 'node:timers/promises'
import { listen, send, stop } from '../../lab/demo/traffic.ts'
import { Lab, takeLabDown, type Container } from '../../lab/index.ts'
import type { LiveNode } from '../../src/network/live-endpoint.ts'

/** Bits per second of the lab's links, and of gold's floor. */
export const rate = 200e6
export const floor = 120e6
/** Payload of TCP in a floor, and a little for the beginning of a transfer. */
export const enough = floor * 0.955 * 0.95

/** From n3: three processes, of which each gets a part of the processors. */
const portsOfThird = [5213, 5216, 5217]
const ports = [5211, 5212, 5214, ...portsOfThird]
const udp = ['-u', '-b', '250M', '-l', '1400']

/** A lab in which gold and a best-effort sink receive on n1, and others can flood the sink. */
export class FloodedLab {
  readonly lab: Lab
  readonly gold: Container
  readonly sink: Container
  /** Sends to gold, from n2. */
  readonly source: Container
  /** On n2, n3 and n1. */
  readonly floods: [Container, Container, Container]

  private constructor(lab: Lab, [gold, sink, source, ...floods]: Container[]) {
    this.lab = lab
    this.gold = gold!
    this.sink = sink!
    this.source = source!
    this.floods = floods as [Container, Container, Container]
  }

  static async up(): Promise<FloodedLab> {
    await takeLabDown()
    const lab = await Lab.up({ nodes: 3, rate })
    await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-v', '100'])
    await lab.dctl(['perf-tier', 'create', 'gold', '-b', '120M'])
    const places = { gold: 'n1', sink: 'n1', source: 'n2', flood2: 'n2', flood3: 'n3', flood1: 'n1' }
    const containers = await Promise.all(
      Object.entries(places).map(([name, node]) =>
        lab.startContainer({ node, name, network: 'blue', ...(name === 'gold' ? { perfTier: 'gold' } : {}) }),
      ),
    )
    const place = new FloodedLab(lab, containers)
    await Promise.all([listen(place.gold, [5201, 5202]), listen(place.sink, ports)])
    return place
  }

  /** Floods from n2, TCP and UDP, and from n3, UDP; returns when limits had time to be set. */
  async flood(): Promise<void> {
    send(this.floods[0], this.sink, 5211, '-P', '4')
    send(this.floods[0], this.sink, 5212, ...udp)
    await sleep(300)
    for (const port of portsOfThird) send(this.floods[1], this.sink, port, ...udp)
    await sleep(1500)
  }

  /** Ends all traffic and starts all agents. */
  async calm(): Promise<void> {
    const { floods, sink, lab } = this
    await Promise.all([...floods, sink].map((container) => stop(container).catch(() => {}))) // there may be none
    await Promise.all(lab.nodes.map((node) => lab.startAgent(node)))
    await listen(sink, ports) // a server that lost its client in a flood would still wait for it
  }

  /** Receivers that a node is held back from, as its agent knows. */
  async heldBy(node: string): Promise<LiveNode['held']> {
    const path = `/apis/carbonado.io/v1alpha1/nodes/${node}/proxy/v1/endpoints`
    return (await this.lab.store.getJson<LiveNode>(path)).held
  }
}
