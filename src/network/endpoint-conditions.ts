import { Endpoint, type Condition } from '../api/index.ts'
import { regularly, type Logger, type Regular } from '../base/index.ts'
import type { ResourceStore } from '../store/index.ts'
import { describeDuplicate, type DuplicateAddress } from './duplicate-watch.ts'

/** Milliseconds between looks, and until a write that failed is tried again. */
const interval = 1_000
const retryAfter = 5_000

/** What the conditions are written from. */
export interface EndpointConditionsOptions {
  store: Pick<ResourceStore, 'patch'>
  /** The Endpoint objects of this node, as the store has them. */
  objects: () => Endpoint[]
  /** Addresses that others use now. */
  duplicates: () => DuplicateAddress[]
  logger: Logger
  /** Milliseconds of a clock that never jumps. */
  now?: () => number
}

/**
 * Keeps `status.conditions` of this node's endpoints true. Level-triggered: it compares what the objects say with what is,
 * so that what an earlier agent wrote, or a write that failed, is made right. They go when an endpoint is unbound.
 */
export class EndpointConditions {
  readonly #options: Required<EndpointConditionsOptions>
  #looking: Regular | undefined
  #pausedUntil = -Infinity

  constructor(options: EndpointConditionsOptions) {
    this.#options = { now: () => performance.now(), ...options }
  }

  start(): void {
    const tell = (err: unknown): void =>
      this.#options.logger.error({ err }, 'conditions of endpoints were not looked at')
    this.#looking = regularly(() => this.tick(), interval, tell)
  }

  async stop(): Promise<void> {
    await this.#looking?.stop()
  }

  /** Looks once, and writes what is not right; never throws. */
  async tick(): Promise<void> {
    const { objects, duplicates, now, logger } = this.#options
    if (now() < this.#pausedUntil) return
    const byId = Map.groupBy(duplicates(), ({ endpointId }) => endpointId)
    try {
      for (const endpoint of objects()) {
        const wanted = addressUnique(endpoint, byId.get(endpoint.metadata.uid!) ?? [])
        if (wanted) await this.#write(endpoint, wanted)
      }
    } catch (error) {
      this.#pausedUntil = now() + retryAfter
      logger.debug({ err: error }, 'a condition of an endpoint could not be written')
    }
  }

  async #write({ metadata, status }: Endpoint, wanted: Condition): Promise<void> {
    const others = (status?.conditions ?? []).filter(({ type }) => type !== wanted.type)
    const { name, namespace, resourceVersion } = metadata
    const patch = { status: { conditions: [...others, wanted] } }
    await this.#options.store.patch(Endpoint, { name, namespace }, patch, { subresource: 'status', resourceVersion })
  }
}

const type = 'AddressUnique'

/** The condition that an endpoint should have and has not; undefined where all is said. A pure function but for the time. */
function addressUnique({ status }: Endpoint, duplicates: DuplicateAddress[]): Condition | undefined {
  const said = status?.conditions?.find((condition) => condition.type === type)
  const [first] = duplicates
  if (!first && (!said || said.status === 'True')) return undefined
  const wanted = first
    ? { type, status: 'False' as const, reason: describeDuplicate(first).reason, message: messageOf(duplicates) }
    : { type, status: 'True' as const, reason: 'NobodyHeard', message: 'the other host was not heard any more' }
  if (said?.status === wanted.status && said.message === wanted.message) return undefined
  const isChange = said?.status !== wanted.status
  return { ...wanted, lastTransitionTime: isChange ? new Date().toISOString() : said.lastTransitionTime }
}

function messageOf(duplicates: DuplicateAddress[]): string {
  return duplicates
    .map((duplicate) => describeDuplicate(duplicate))
    .map(({ message, remedy }) => `${message}. ${remedy}`)
    .join(' ')
}
