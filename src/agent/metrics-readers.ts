import { bearerToken, type Authenticate } from './bearer-tokens.ts'
import { rememberReviews, reviewToken, type ApiServer, type ReviewedUser } from './token-reviews.ts'

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
export function withMetricsReaders(known: Authenticate, store: ApiServer, now?: () => number): Authenticate {
  const review = rememberReviews(async (token) => {
    const user = await reviewToken(store, token)
    return user && (await mayReadMetrics(store, user)) ? user : undefined
  }, now && { now })
  return async (authorization, visitorToken, path) => {
    const user = await known(authorization, visitorToken, path)
    const token = bearerToken(authorization)
    if (user || token === undefined || path !== metricsPath) return user
    const reader = await review(token).catch(() => undefined)
    return reader && { user: reader.username, role: metricsReaderRole }
  }
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
