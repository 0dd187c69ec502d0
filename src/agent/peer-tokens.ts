import { bearerToken, type Authenticate } from './bearer-tokens.ts'
import { claimedAudiences } from './token-claims.ts'
import { rememberReviews, reviewToken, type ApiServer, type ReviewOptions } from './token-reviews.ts'

/** What the tokens that agents show each other are for. */
export const peerAudience = 'carbonado.io/agents'
/** Milliseconds: as long as such a token lives. Limits of other nodes must be taken while the API server is away. */
const grace = 3_600_000

/**
 * Knows the tokens of others and, beside, those that Kubernetes made for pods of the service account of agents,
 * `system:serviceaccount:...`: such a token speaks for the node of its pod, and for no other.
 */
export function withPeerTokens(
  known: Authenticate,
  store: ApiServer,
  serviceAccount: string,
  options: ReviewOptions = {},
): Authenticate {
  const review = rememberReviews(
    async (token) => {
      const user = await reviewToken(store, token, peerAudience)
      return user?.username === serviceAccount && user.nodeName !== undefined ? user : undefined
    },
    (token) => claimedAudiences(token)?.includes(peerAudience) === true,
    { grace, ...options },
  )
  return async (authorization, visitorToken, path) => {
    const user = await known(authorization, visitorToken, path)
    const token = bearerToken(authorization)
    if (user || token === undefined) return user
    const agent = await review(token).catch(() => undefined)
    return agent && { user: agent.username, role: 'agent', nodeName: agent.nodeName }
  }
}
