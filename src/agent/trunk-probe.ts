import { Network, Node } from '../api/index.ts'
import { regularly, type Logger, type Regular } from '../base/index.ts'
import type { NetworkEngine } from '../network/engine.ts'
import { describeTrunkProblem, findTrunkProblems, probeInterval } from '../network/trunk-check.ts'
import { createInformer, type ResourceStore } from '../store/index.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'

/** Tells other nodes on every VLAN that this one is there, and which VLANs it does not hear them on. */
export interface TrunkProbe extends Part {
  findProblems(): Promise<NodeProblem[]>
}

/** Makes the part; networks are watched, nodes are asked for only when somebody wants to know. */
export function createTrunkProbe(
  nodeName: string,
  store: ResourceStore,
  engine: NetworkEngine,
  logger: Logger,
): TrunkProbe {
  const networks = createInformer(store, Network, { logger })
  let probing: Regular | undefined
  const probe = (): void => {
    const vlans = new Set(networks.items().flatMap((network) => network.spec.vlan ?? []))
    for (const vlan of vlans) engine.sendProbe(nodeName, vlan)
  }
  return {
    name: 'trunk probe',
    start() {
      void networks.start() // control may be away; there is nothing to probe until it is known
      probing = regularly(probe, probeInterval, (err) => logger.error({ err }, 'a VLAN could not be probed'))
    },
    async stop() {
      await probing?.stop()
      await networks.stop()
    },
    async findProblems() {
      const nodes = (await store.list(Node)).items
      const heard = (name: string, vlan: number): number | undefined => engine.probeHeard(name, vlan)
      return findTrunkProblems({ nodeName, networks: networks.items(), nodes, heard, now: Date.now() }).map((problem) =>
        describeTrunkProblem(problem, nodeName),
      )
    },
  }
}
