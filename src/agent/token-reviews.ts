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

/** How answers of the API server are remembered. */
export interface ReviewMemory {
  /**
   * Milliseconds after `freshness` for which an answer still serves while the API server is asked again, and while it does not
   * answer; 0 unless told.
   */
  grace?: number
  now?: () => number
}

/** Milliseconds for which an answer of the API server holds. */
const freshness = 60_000
const mostRemembered = 1_000
/** Names the node of a token's pod, for Kubernetes 1.30 and later. */
const nodeNameKey = 'authentication.kubernetes.io/node-name'

interface Remembered {
  user: ReviewedUser | undefined
  at: number
}

/** Remembers what `review` says of tokens, by their digests. */
export function rememberReviews(
  review: ReviewToken,
  { grace = 0, now = () => performance.now() }: ReviewMemory = {},
): ReviewToken {
  const known = new Map<string, Remembered>()
  const asking = new Map<string, Promise<ReviewedUser | undefined>>()
  const ask = (key: string, token: string): Promise<ReviewedUser | undefined> => {
    const asked = asking.get(key) ?? review(token).then((user) => {
      if (known.size >= mostRemembered) known.delete(known.keys().next().value!)
      known.set(key, { user, at: now() })
      return user
    }).finally(() => asking.delete(key)) // prettier-ignore
    asking.set(key, asked)
    return asked
  }
  return async (token) => {
    const key = createHash('sha256').update(token).digest('base64')
    const remembered = known.get(key)
    const age = remembered ? now() - remembered.at : Infinity
    if (remembered && age < freshness) return remembered.user
    const asked = ask(key, token)
    if (!remembered?.user || age >= freshness + grace) return asked
    asked.catch(() => {}) // what was answered before serves
    return remembered.user
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
