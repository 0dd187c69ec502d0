import { bearerToken, type Authenticate } from './bearer-tokens.ts'
import { peerAudience } from './peer-tokens.ts'
import { claimedAudiences } from './token-claims.ts'
import { rememberReviews, reviewToken, type ApiServer, type ReviewedUser, type ReviewOptions } from './token-reviews.ts'
import { visitorAudience } from './visitors.ts'

/** The role of those who may read the metrics, and nothing else. */
export const metricsReaderRole = 'metrics-reader'
/** Where they are served. */
export const metricsPath = '/metrics'

interface SubjectAccessReview {
  status?: { allowed?: boolean }
}

/**
 * Knows the tokens of others and, beside, at /metrics those that are for the API server, of users whom the cluster lets
 * `get` the URL /metrics. So do kubelet and the API server themselves; a Prometheus in the cluster has such a token and such a
 * right. An API server that does not answer makes nobody a reader.
 */
export function withMetricsReaders(known: Authenticate, store: ApiServer, options?: ReviewOptions): Authenticate {
  const review = rememberReviews(
    async (token) => {
      const user = await reviewToken(store, token)
      return user && (await mayReadMetrics(store, user)) ? user : undefined
    },
    mayBeForApiServer,
    options,
  )
  return async (authorization, visitorToken, path) => {
    const user = await known(authorization, visitorToken, path)
    const token = bearerToken(authorization)
    if (user || token === undefined || path !== metricsPath) return user
    const reader = await review(token).catch(() => undefined)
    return reader && { user: reader.username, role: metricsReaderRole }
  }
}

/** How the API server calls itself is not known here, and old tokens of service accounts do not say whom they are for. */
function mayBeForApiServer(token: string): boolean {
  const audiences = claimedAudiences(token)
  if (audiences === undefined) return false
  return audiences.length === 0 || audiences.some((each) => each !== peerAudience && each !== visitorAudience)
}

async function mayReadMetrics(store: ApiServer, { username, groups }: ReviewedUser): Promise<boolean> {
  const { status } = await store.request<SubjectAccessReview>(
    'POST',
    '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, groups, nonResourceAttributes: { path: metricsPath, verb: 'get' } },
    },
  )
  return status?.allowed === true
}
