import type { Authenticate } from './bearer-tokens.ts'
import { claimedAudiences } from './token-claims.ts'
import { rememberReviews, reviewToken, type ApiServer, type ReviewOptions } from './token-reviews.ts'

/** Header with the token of a visitor: the API server keeps `Authorization` for itself. */
export const visitorHeader = 'x-carbonado-token'
/** What the tokens of visitors are for; one that is for the API server must not be shown to an agent. */
export const visitorAudience = 'carbonado.io/live'

/** The role of visitors in the live API. */
export const visitorRole = 'visitor'

/**
 * Says whether a token is one that the API server made for the service account of visitors, `system:serviceaccount:...`.
 * Who may have it made is decided by the rights in the cluster, so that looking at live figures needs no other login.
 */
export function createVisitorCheck(
  store: ApiServer,
  serviceAccount: string,
  options?: ReviewOptions,
): (token: string) => Promise<boolean> {
  const review = rememberReviews(
    async (token) => {
      const user = await reviewToken(store, token, visitorAudience)
      return user?.username === serviceAccount ? user : undefined
    },
    (token) => claimedAudiences(token)?.includes(visitorAudience) === true,
    options,
  )
  return async (token) => (await review(token)) !== undefined
}

/** Knows the tokens of others and, beside, those of visitors. A store that does not answer makes nobody a visitor. */
export function withVisitors(known: Authenticate, isVisitor: (token: string) => Promise<boolean>): Authenticate {
  return async (authorization, visitorToken, path) => {
    const user = await known(authorization, undefined, path)
    if (user || visitorToken === undefined) return user
    const allowed = await isVisitor(visitorToken).catch(() => false)
    return allowed ? { user: 'visitor', role: visitorRole } : undefined
  }
}
