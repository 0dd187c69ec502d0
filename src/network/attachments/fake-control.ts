import { Endpoint, isDecidedAbout, type Allocation, type Refusal } from '../../api/index.ts'
import { silentLogger, WorkQueue } from '../../base/index.ts'
import { createInformer, type ResourceStore } from '../../store/index.ts'

/** A decision about an endpoint, without the generation. */
export type Decision = Omit<Allocation, 'generation'> | Omit<Refusal, 'generation'>

/** What stands in for control's endpoint controller. */
export interface FakeControl {
  /** Decides again about every endpoint, as after an edited tier. */
  decideAgain(): void
  stop(): Promise<void>
}

/** Answers every endpoint of a store with a decision, as control's endpoint controller does; for unit tests only. */
export async function startFakeControl(
  store: ResourceStore,
  decide: (endpoint: Endpoint) => Decision = allocateByCounting(),
): Promise<FakeControl> {
  const informer = createInformer(store, Endpoint, { logger: silentLogger() })
  let round = 0
  const decidedIn = new Map<string, number>()
  const queue = new WorkQueue(async (key) => {
    const [namespace, name] = key.split('/') as [string, string]
    const endpoint = informer.get({ namespace, name })
    if (!endpoint || endpoint.metadata.deletionTimestamp) return { done: true }
    const { generation, uid } = endpoint.metadata
    if (isDecidedAbout(endpoint) && decidedIn.get(uid!) === round) return { done: true }
    decidedIn.set(uid!, round)
    const allocation = { ...decide(endpoint), generation }
    await store
      .patch(Endpoint, { namespace, name }, { status: { allocation } }, { subresource: 'status' })
      .catch((error: { code?: string }) => {
        if (error.code !== 'NotFound') throw error
      })
    return { done: true }
  })
  const keyOf = ({ metadata }: Endpoint): string => `${metadata.namespace}/${metadata.name}`
  informer.onChange(({ object }) => queue.add(keyOf(object)))
  await informer.start()
  return {
    decideAgain() {
      round += 1
      for (const endpoint of informer.items()) queue.add(keyOf(endpoint))
    },
    async stop() {
      await informer.stop()
      await queue.stop()
    },
  }
}

/** Allocates addresses of 10.0.0.0/16 one after the other; an endpoint keeps its own. */
export function allocateByCounting(): (endpoint: Endpoint) => Decision {
  const numbers = new Map<string, number>()
  return ({ metadata }) => {
    const number = numbers.get(metadata.uid!) ?? numbers.size + 2
    numbers.set(metadata.uid!, number)
    const address = `10.0.${number >> 8}.${number & 255}`
    return {
      state: 'Allocated',
      addresses: [{ address, prefixLength: 16, gateway: '10.0.0.1' }],
      macAddress: `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`,
      vlan: 100,
      bandwidthFloor: 0,
    }
  }
}
