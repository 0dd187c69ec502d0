import type { FastifyInstance } from 'fastify'
import { validate, type KindDefinition, type KubeObject } from '../../api/index.ts'
import { Forbidden, type Logger } from '../../base/index.ts'
import type { Admit, SyncReader } from '../../store/index.ts'
import { holdToOwnNode } from '../agent-limits.ts'
import {
  refusalFor,
  reviewAnswer,
  reviewRequestOf,
  type ReviewDecision,
  type ReviewRequest,
} from './admission-review.ts'

/** Path at which the API server asks. */
export const admissionPath = '/webhooks/admission'

const verbs = { CREATE: 'create', UPDATE: 'update', DELETE: 'delete' } as const

/** The node of the pod that a token is bound to, in what the API server tells of a user; Kubernetes 1.30 and later. */
const nodeNameKey = 'authentication.kubernetes.io/node-name'

/** What the webhook decides by. */
export interface AdmissionWebhookParts {
  kinds: KindDefinition[]
  admit: Admit
  reader: SyncReader
  /** The service account of agents, each of which is held to the node of its pod; absent: none is. */
  agents?: string | undefined
  logger: Logger
}

/** Answers the API server whether a write to one of our kinds may happen, by the same rules as control's own store. */
export function addAdmissionWebhook(app: FastifyInstance, parts: AdmissionWebhookParts): void {
  app.post(admissionPath, async ({ body }) => {
    const request = reviewRequestOf(body)
    return reviewAnswer(request, decide(request, parts))
  })
}

function decide(
  request: ReviewRequest,
  { kinds, admit, reader, agents, logger }: AdmissionWebhookParts,
): ReviewDecision {
  const kind = kinds.find(({ group, kind }) => group === request.kind.group && kind === request.kind.kind)
  const verb = verbs[request.operation as keyof typeof verbs] as (typeof verbs)[keyof typeof verbs] | undefined
  if (!kind || !verb || request.subResource) return { allowed: true }
  const { username, extra } = request.userInfo ?? {}
  try {
    const existing = request.oldObject ? (request.oldObject as KubeObject) : undefined
    const object = verb === 'delete' ? existing! : validate(kind, withoutManagedFields(request.object))
    if (username !== undefined && username === agents) {
      const before = existing && validate(kind, withoutManagedFields(existing))
      const write = { verb, kind, object, ...(before ? { existing: before } : {}) }
      holdToOwnNode(nodeOf(username, extra?.[nodeNameKey]), username, write)
    }
    admit({ verb, kind, object, ...(verb === 'update' ? { existing } : {}) }, reader)
    return { allowed: true }
  } catch (thrown) {
    return refusalFor(thrown, logger)
  }
}

function nodeOf(username: string, named: string[] = []): string {
  if (named[0] !== undefined) return named[0]
  throw new Forbidden(
    `User "${username}" has a token that names no node, and agents write what is on their node only`,
    {
      remedy: 'Use the token that Kubernetes gives the pod of the agent, on Kubernetes 1.30 or later.',
    },
  )
}

/** Fields that the API server keeps in every object and our kinds know nothing of. */
function withoutManagedFields(object: unknown): unknown {
  const { metadata, ...rest } = object as KubeObject & { metadata: Record<string, unknown> }
  const { managedFields: _managed, selfLink: _link, generateName: _name, ...known } = metadata
  return { ...rest, metadata: known }
}
