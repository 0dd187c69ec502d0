import { createHash } from 'node:crypto'
import type { RestStore } from '../store/index.ts'

/** Whose token it is, as the API server says. */
export interface ReviewedUser {
  username: string
  groups: string[]
  /** The node of the pod that the token is bound to; absent where it is bound to none. */
  nodeName?: string
}

interface TokenReview {
  status?: {
    authenticated?: boolean
    audiences?: string[]
    user?: { username?: string; groups?: string[]; extra?: Record<string, string[]> }
  }
}

/** Says whose token it is; undefined for nobody's. Rejects while the API server does not answer. */
export type ReviewToken = (token: string) => Promise<ReviewedUser | undefined>

/** The part of a client of the API server that is needed to ask it. */
export type ApiServer = Pick<RestStore, 'request'>

/** How the API server is asked, and its answers remembered. */
export interface ReviewOptions {
  /**
   * Milliseconds after `freshness` for which an answer still serves while the API server is asked again, and while it does not
   * answer; 0 unless told.
   */
  grace?: number
  now?: () => number
  /** Reviews under way of tokens that were not known to be good; shared by all that have one limit together. */
  strangers?: Set<Promise<unknown>>
}

/** Milliseconds for which an answer of the API server holds. */
const freshness = 60_000
/** Answers of a sort; whoever sends tokens that are none must not make those be forgotten that are good. */
const mostRemembered = 1_000
/** Anybody can send tokens, and the API server has other things to do than to review them. */
const mostStrangers = 8
/** Names the node of a token's pod, for Kubernetes 1.30 and later. */
const nodeNameKey = 'authentication.kubernetes.io/node-name'

interface Remembered {
  user: ReviewedUser | undefined
  at: number
}

/**
 * Remembers what `review` says of tokens, by their digests. Those that are not worth asking about are nobody's; so are tokens
 * that are not known while there are as many reviews of such under way as there may be.
 */
export function rememberReviews(
  review: ReviewToken,
  isWorthAsking: (token: string) => boolean,
  options: ReviewOptions = {},
): ReviewToken {
  const reviews = new RememberedReviews(review, options)
  return async (token) => (isWorthAsking(token) ? reviews.userOf(token) : undefined)
}

class RememberedReviews {
  readonly #review: ReviewToken
  readonly #grace: number
  readonly #now: () => number
  readonly #strangers: Set<Promise<unknown>>
  readonly #known = new Map<string, Remembered>()
  readonly #refused = new Map<string, Remembered>()
  readonly #asking = new Map<string, Promise<ReviewedUser | undefined>>()

  constructor(review: ReviewToken, { grace = 0, now = () => performance.now(), strangers = new Set() }: ReviewOptions) {
    this.#review = review
    this.#grace = grace
    this.#now = now
    this.#strangers = strangers
  }

  async userOf(token: string): Promise<ReviewedUser | undefined> {
    const key = createHash('sha256').update(token).digest('base64')
    const remembered = this.#known.get(key) ?? this.#refused.get(key)
    const age = remembered ? this.#now() - remembered.at : Infinity
    if (remembered && age < freshness) return remembered.user
    const asked = this.#asking.get(key) ?? this.#ask(key, token)
    if (!remembered?.user || age >= freshness + this.#grace) return asked
    asked?.catch(() => {}) // what was answered before serves
    return remembered.user
  }

  /** Undefined when no more strangers may be asked about now. */
  #ask(key: string, token: string): Promise<ReviewedUser | undefined> | undefined {
    const isStranger = !this.#known.has(key)
    if (isStranger && this.#strangers.size >= mostStrangers) return undefined
    const asked = this.#learn(key, token).finally(() => {
      this.#asking.delete(key)
      this.#strangers.delete(asked)
    })
    this.#asking.set(key, asked)
    if (isStranger) this.#strangers.add(asked)
    return asked
  }

  async #learn(key: string, token: string): Promise<ReviewedUser | undefined> {
    const user = await this.#review(token)
    for (const memory of [this.#known, this.#refused]) memory.delete(key) // the newest answer is the last to be forgotten
    const memory = user ? this.#known : this.#refused
    if (memory.size >= mostRemembered) memory.delete(memory.keys().next().value!)
    memory.set(key, { user, at: this.#now() })
    return user
  }
}

/**
 * Asks the API server whose token it is. `audience` is what the token must be for; absent: for the API server itself.
 */
export async function reviewToken(
  store: ApiServer,
  token: string,
  audience?: string,
): Promise<ReviewedUser | undefined> {
  const { status } = await store.request<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, ...(audience === undefined ? {} : { audiences: [audience] }) },
  })
  const { username, groups = [], extra } = status?.user ?? {}
  if (status?.authenticated !== true || !username) return undefined
  if (audience !== undefined && !status.audiences?.includes(audience)) return undefined
  const nodeName = extra?.[nodeNameKey]?.[0]
  return { username, groups, ...(nodeName === undefined ? {} : { nodeName }) }
}
