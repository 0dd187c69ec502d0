import { readIfWhole, writeWhole, type Logger } from '../../base/index.ts'

/** What was known about sending nodes: the node by a source's key, and the address of its agent by a node's name. */
export interface KnownSenders {
  places: Record<string, string>
  addresses: Record<string, string>
}

/** Milliseconds between two writes of the file at least. */
const pause = 1_000

/**
 * Keeps what is known about senders in a file, so that an agent that is started again inside a flood need not ask control,
 * whose answers that flood loses. All of it may be old; a damaged file is an empty one.
 */
export class SenderMemory {
  readonly #file: string
  readonly #logger: Logger
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(file: string, logger: Logger) {
    this.#file = file
    this.#logger = logger
  }

  recall(): KnownSenders {
    const { places, addresses } = readIfWhole<Partial<KnownSenders>>(this.#file) ?? {}
    return { places: textsOf(places), addresses: textsOf(addresses) }
  }

  /** Writes soon what is known by then; what is learned within a second of each other is written once. */
  keepSoon(known: () => KnownSenders): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#writing = this.#writing
        .then(() => writeWhole(this.#file, JSON.stringify(known())))
        .catch((error: unknown) => this.#logger.debug({ err: error }, 'where senders are could not be kept'))
    }, pause)
  }

  /** Ends writing; what was learned in the last second may be lost. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#writing
  }
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter(([, text]) => typeof text === 'string')) as Record<string, string> // prettier-ignore
}
