import { setTimeout as delay } from 'node:timers/promises'
import type { Lab } from '../../lab/index.ts'
import { applyObjects, installBridgeNetwork, kubectl } from '../../lab/kubernetes/index.ts'

/** One of the networks that pods of a benchmark can have. */
export interface PodNetwork {
  name: string
  annotations: Record<string, string>
  hasAddress: (address: string) => boolean
}

const ours = '/etc/cni/net.d/10-carbonado.conflist'
const theirs = '/etc/cni/net.d/20-bridge.conflist'
const webhook = 'mutatingwebhookconfiguration/carbonado-pods'

/** What addresses of a network look like, for errors. */
export function expectedSetting({ name }: PodNetwork): string {
  return `the network ${name}`
}

/**
 * Both networks on the nodes of one lab, one of them in use. Pods of the standard plugins are made without Carbonado's
 * webhook and without anything that it would look at, so that nothing of it is in their way.
 */
export class PodNetworks {
  readonly carbonado: PodNetwork = {
    name: 'carbonado',
    annotations: { 'carbonado.io/endpoint0': '{"network":"bench"}' },
    hasAddress: (address) => address.startsWith('10.140.'),
  }
  readonly bridge: PodNetwork = { name: 'bridge', annotations: {}, hasAddress: (address) => address.startsWith('10.244.') } // prettier-ignore
  readonly #lab: Lab
  readonly #webhook: object
  readonly #interfaces: Map<string, number>

  private constructor(lab: Lab, webhookObject: object, interfaces: Map<string, number>) {
    this.#lab = lab
    this.#webhook = webhookObject
    this.#interfaces = interfaces
  }

  /** Installs the standard plugins beside Carbonado, and makes a network. */
  static async prepare(lab: Lab): Promise<PodNetworks> {
    const spec = { subnets: [{ cidr: '10.140.0.0/16', gateway: '10.140.0.1' }], vlan: 77 }
    await applyObjects([{ apiVersion: 'carbonado.io/v1alpha1', kind: 'Network', metadata: { name: 'bench' }, spec }])
    await installBridgeNetwork(lab.nodes)
    const object = JSON.parse(await kubectl(['get', webhook, '-o', 'json'])) as { kind: string; apiVersion: string; metadata: { name: string; labels: object }; webhooks: object[] } // prettier-ignore
    const { apiVersion, kind, metadata, webhooks } = object
    const kept = { apiVersion, kind, metadata: { name: metadata.name, labels: metadata.labels }, webhooks }
    return new PodNetworks(lab, kept, await countInterfaces(lab))
  }

  /** Gives the next pods this network. */
  async use(network: PodNetwork): Promise<void> {
    const isOurs = network === this.carbonado
    if (isOurs) await applyObjects([this.#webhook])
    else await kubectl(['delete', webhook, '--ignore-not-found'])
    const [on, off] = isOurs ? [ours, theirs] : [theirs, ours]
    const script = `cd /etc/cni/net.d; test -e ${on} || mv ${on}.off ${on}; test ! -e ${off} || mv ${off} ${off}.off`
    await Promise.all(this.#lab.nodes.map((node) => this.#lab.nodeExec(node, ['sh', '-euc', script])))
    await delay(1_500) // containerd reads the folder again
  }

  /** Objects of the store and interfaces of the nodes that are there beyond those before the first pod. */
  async leftOver(): Promise<number> {
    let left = 0
    for (let attempt = 0; attempt < 60; attempt++) {
      const objects = await kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name'])
      const interfaces = await countInterfaces(this.#lab)
      const more = [...interfaces].map(([node, count]) => Math.max(0, count - (this.#interfaces.get(node) ?? 0)))
      left = objects.split('\n').filter((line) => line !== '').length + more.reduce((sum, each) => sum + each, 0)
      if (left === 0) return 0
      await delay(500)
    }
    return left
  }
}

/** Interfaces of containers on each node; the bridge itself stays. */
async function countInterfaces(lab: Lab): Promise<Map<string, number>> {
  const counts = lab.nodes.map(async (node): Promise<[string, number]> => {
    const { stdout } = await lab.nodeExec(node, ['ip', '-oneline', 'link', 'show', 'type', 'veth'])
    return [node, stdout.split('\n').filter((line) => line !== '').length]
  })
  return new Map(await Promise.all(counts))
}
