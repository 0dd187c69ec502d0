import { createHash } from 'node:crypto'
import type { RestStore } from '../store/index.ts'

/** Whose token it is, as the API server says. */
export interface ReviewedUser {
  username: string
  /** The node of the pod that the token is bound to; absent where it is bound to none. */
  nodeName?: string
}

interface TokenReview {
  status?: {
    authenticated?: boolean
    audiences?: string[]
    user?: { username?: string; extra?: Record<string, string[]> }
  }
}

/** Says whose token it is; undefined for nobody's. Rejects while the API server does not answer. */
export type ReviewToken = (token: string) => Promise<ReviewedUser | undefined>

/** How an API server is asked whose tokens they are. */
export interface TokenReviewOptions {
  store: Pick<RestStore, 'request'>
  /** What tokens must be for; one that is for the API server must not be shown to anybody else. */
  audience: string
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

/** Asks the API server whose tokens they are, and remembers what it answered by the tokens' digests. */
export function createTokenReview(options: TokenReviewOptions): ReviewToken {
  const { store, audience, grace = 0, now = () => performance.now() } = options
  const known = new Map<string, Remembered>()
  const asking = new Map<string, Promise<ReviewedUser | undefined>>()
  const ask = (key: string, token: string): Promise<ReviewedUser | undefined> => {
    const asked = asking.get(key) ?? review(store, audience, token).then((user) => {
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

async function review(
  store: Pick<RestStore, 'request'>,
  audience: string,
  token: string,
): Promise<ReviewedUser | undefined> {
  const { status } = await store.request<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [audience] },
  })
  const { username, extra } = status?.user ?? {}
  if (status?.authenticated !== true || !status.audiences?.includes(audience) || !username) return undefined
  const nodeName = extra?.[nodeNameKey]?.[0]
  return { username, ...(nodeName === undefined ? {} : { nodeName }) }
}
