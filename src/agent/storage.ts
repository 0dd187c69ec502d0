import { join } from 'node:path'
import { Node, apiVersionOf } from '../api/index.ts'
import { Unavailable } from '../base/index.ts'
import { findFreeDrives, StorageAgent, type FetchBlocks } from '../storage/agent/index.ts'
import type { RestStore } from '../store/index.ts'
import type { AgentOptions } from './agent.ts'
import { createPeerClient } from './peer-client.ts'
import type { VolumeGuarantee } from './volume-guarantee.ts'

/** Milliseconds that one segment of a copy may take. */
const segmentTimeout = 120_000

/** The storage of this node. `guarantee` is asked for late: it is made with this part. */
export function createStorage(
  { config, poolFormats = [], logger }: AgentOptions,
  store: RestStore,
  guarantee: () => VolumeGuarantee,
): StorageAgent {
  const { drives, nodeName, stateDirectory } = config
  return new StorageAgent({
    nodeName,
    store,
    formats: poolFormats,
    devices: drives ? () => Promise.resolve([...drives]) : findFreeDrives,
    fetchBlocks: fetchThrough(config, store),
    publishFolder: join(stateDirectory, 'volumes'),
    withoutCaps: (plexUids, work) => guarantee().withoutLimits(plexUids, work),
    copyAllowance: (id) => guarantee().copyAllowance(id),
    logger,
  })
}

/**
 * Snapshots of other nodes are read through control, which every agent can reach and trusts. Where the API server is not
 * control, in a pod, agents read from each other.
 */
function fetchThrough(config: AgentOptions['config'], store: RestStore): FetchBlocks {
  const peers = config.control.server === undefined ? createPeerClient(config) : undefined
  return async (source, uid, { offset, length }) => {
    const blocks = `v1/snapshot-blocks?uid=${encodeURIComponent(uid)}&offset=${offset}&length=${length}`
    const signal = AbortSignal.timeout(segmentTimeout)
    if (!peers) {
      const path = `/apis/${apiVersionOf(Node)}/nodes/${source}/proxy/${blocks}`
      return (await store.getStream(path, signal)) as AsyncIterable<Buffer>
    }
    const { status } = await store.get(Node, { name: source })
    const address = status?.agent?.address
    if (address === undefined) throw new Unavailable(`the agent of node ${source} has not said where it is`)
    return peers.getStream(address, `/${blocks}`, signal)
  }
}
