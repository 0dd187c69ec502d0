import { createHash } from 'node:crypto'
import type { RestStore } from '../store/index.ts'
import type { Authenticate } from './bearer-tokens.ts'

/** Header with the token of a visitor: the API server keeps `Authorization` for itself. */
export const visitorHeader = 'x-carbonado-token'
/** What the tokens of visitors are for; one that is for the API server must not be shown to an agent. */
export const visitorAudience = 'carbonado.io/live'

/** The role of visitors in the live API. */
export const visitorRole = 'visitor'

/** Milliseconds for which an answer of the API server holds. */
const freshness = 60_000
const mostRemembered = 200

interface TokenReview {
  status?: { authenticated?: boolean; audiences?: string[]; user?: { username?: string } }
}

/**
 * Says whether a token is one that the API server made for the service account of visitors, `system:serviceaccount:...`.
 * Who may have it made is decided by the rights in the cluster, so that looking at live figures needs no other login.
 */
export function createVisitorCheck(
  store: Pick<RestStore, 'request'>,
  serviceAccount: string,
  now: () => number = () => performance.now(),
): (token: string) => Promise<boolean> {
  const known = new Map<string, { isVisitor: boolean; until: number }>()
  return async (token) => {
    const key = createHash('sha256').update(token).digest('base64')
    const remembered = known.get(key)
    if (remembered && remembered.until > now()) return remembered.isVisitor
    const isVisitor = await review(store, serviceAccount, token)
    if (known.size >= mostRemembered) known.clear()
    known.set(key, { isVisitor, until: now() + freshness })
    return isVisitor
  }
}

async function review(store: Pick<RestStore, 'request'>, serviceAccount: string, token: string): Promise<boolean> {
  const { status } = await store.request<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [visitorAudience] },
  })
  return (
    status?.authenticated === true &&
    status.user?.username === serviceAccount &&
    (status.audiences?.includes(visitorAudience) ?? false)
  )
}

/** Knows the tokens of others and, beside, those of visitors. A store that does not answer makes nobody a visitor. */
export function withVisitors(known: Authenticate, isVisitor: (token: string) => Promise<boolean>): Authenticate {
  return async (authorization, visitorToken) => {
    const user = await known(authorization)
    if (user || visitorToken === undefined) return user
    const allowed = await isVisitor(visitorToken).catch(() => false)
    return allowed ? { user: 'visitor', role: visitorRole } : undefined
  }
}
