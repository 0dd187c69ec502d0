import { join } from 'node:path'
import { Node, apiVersionOf } from '../api/index.ts'
import { findFreeDrives, StorageAgent } from '../storage/agent/index.ts'
import type { WithoutCaps } from '../storage/agent/quiesce/quiescer.ts'
import type { RestStore } from '../store/index.ts'
import type { AgentOptions } from './agent.ts'

/** Milliseconds that one segment of a copy may take. */
const segmentTimeout = 120_000

/** The storage of this node. Snapshots of other nodes are read through control, which every agent can reach and trusts. */
export function createStorage(
  { config, poolFormats = [], logger }: AgentOptions,
  store: RestStore,
  withoutCaps: WithoutCaps,
): StorageAgent {
  const { drives, nodeName, stateDirectory } = config
  return new StorageAgent({
    nodeName,
    store,
    formats: poolFormats,
    devices: drives ? () => Promise.resolve([...drives]) : findFreeDrives,
    fetchBlocks: async (source, uid, { offset, length }) => {
      const query = `uid=${encodeURIComponent(uid)}&offset=${offset}&length=${length}`
      const path = `/apis/${apiVersionOf(Node)}/nodes/${source}/proxy/v1/snapshot-blocks?${query}`
      return (await store.getStream(path, AbortSignal.timeout(segmentTimeout))) as AsyncIterable<Buffer>
    },
    publishFolder: join(stateDirectory, 'volumes'),
    withoutCaps,
    logger,
  })
}
