import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Endpoint, Network, Node } from '../../src/api/index.ts'
import { silentLogger } from '../../src/base/index.ts'
import { networkAdmission, startNetworkControllers } from '../../src/network/control.ts'
import { EmbeddedStore } from '../../src/store/index.ts'

/** Milliseconds from the creation of an endpoint to the decision about it. */
export interface LatencyResult {
  p50: number
  p99: number
  /** Endpoints per second, `concurrency` at a time. */
  perSecond: number
}

/** Measures how long control takes, in process, from an endpoint's creation to its allocation. */
async function measureAllocation({ endpoints = 2000, concurrency = 1 } = {}): Promise<LatencyResult> {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-bench-allocation-'))
  const store = new EmbeddedStore({ file: join(folder, 'store.db'), admit: networkAdmission })
  const controllers = await startNetworkControllers(store, { logger: silentLogger() })
  const ended = new AbortController()
  try {
    await prepare(store)
    const decided = followDecisions(store, ended.signal)
    const times: number[] = []
    let left = endpoints
    const caller = async (): Promise<void> => {
      while (left-- > 0) {
        const name = `e${left}`
        const begin = performance.now()
        const decision = decided(name)
        await createEndpoint(store, name)
        await decision
        times.push(performance.now() - begin)
      }
    }
    const begin = performance.now()
    await Promise.all(Array.from({ length: concurrency }, caller))
    const perSecond = (endpoints * 1000) / (performance.now() - begin)
    times.sort((one, other) => one - other)
    return { p50: times[endpoints >> 1]!, p99: times[Math.floor(endpoints * 0.99)]!, perSecond }
  } finally {
    ended.abort()
    await controllers.stop()
    await store.close()
    rmSync(folder, { recursive: true })
  }
}

async function prepare(store: EmbeddedStore): Promise<void> {
  await store.create(Node, {
    metadata: { name: 'n1' },
    spec: { uplinks: { pods: { interface: 'eth0', rate: '10G' } }, maximumInterfaces: 4000 },
  })
  await store.create(Network, {
    metadata: { name: 'bench' },
    spec: { subnets: [{ cidr: '10.64.0.0/16', ranges: [] }], vlan: 100, plane: 'pods', isDefault: false },
  })
}

function createEndpoint(store: EmbeddedStore, name: string): Promise<Endpoint> {
  const spec = { networkName: 'bench', nodeName: 'n1', isStatic: false }
  return store.create(Endpoint, { metadata: { name, namespace: 'default' }, spec })
}

/** Follows the endpoints of a store; the returned function waits for the decision about the one it names. */
function followDecisions(store: EmbeddedStore, signal: AbortSignal): (name: string) => Promise<void> {
  const waiting = new Map<string, () => void>()
  void (async () => {
    for await (const event of store.watch(Endpoint, { signal })) {
      if (event.type === 'BOOKMARK' || event.object.status?.allocation === undefined) continue
      await store.durable(event.object.metadata.resourceVersion) // as control does before it tells anybody
      waiting.get(event.object.metadata.name)?.()
    }
  })()
  return (name) => new Promise((resolve) => waiting.set(name, resolve))
}

if (import.meta.main) {
  for (const concurrency of [1, 50]) {
    const { p50, p99, perSecond } = await measureAllocation({ concurrency })
    const text = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ${Math.round(perSecond)} endpoints/s`
    console.log(`allocation, ${concurrency} at a time: ${text}`)
  }
}
