import type { FastifyInstance } from 'fastify'
import { validate, type KindDefinition, type KubeObject } from '../../api/index.ts'
import type { Logger } from '../../base/index.ts'
import type { Admit, SyncReader } from '../../store/index.ts'
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

/** Answers the API server whether a write to one of our kinds may happen, by the same rules as control's own store. */
export function addAdmissionWebhook(
  app: FastifyInstance,
  { kinds, admit, reader, logger }: { kinds: KindDefinition[]; admit: Admit; reader: SyncReader; logger: Logger },
): void {
  app.post(admissionPath, async ({ body }) => {
    const request = reviewRequestOf(body)
    return reviewAnswer(request, decide(request, kinds, admit, reader, logger))
  })
}

function decide(
  request: ReviewRequest,
  kinds: KindDefinition[],
  admit: Admit,
  reader: SyncReader,
  logger: Logger,
): ReviewDecision {
  const kind = kinds.find(({ group, kind }) => group === request.kind.group && kind === request.kind.kind)
  const verb = verbs[request.operation as keyof typeof verbs] as (typeof verbs)[keyof typeof verbs] | undefined
  if (!kind || !verb || request.subResource) return { allowed: true }
  try {
    const existing = request.oldObject ? (request.oldObject as KubeObject) : undefined
    const object = verb === 'delete' ? existing! : validate(kind, withoutManagedFields(request.object))
    admit({ verb, kind, object, ...(verb === 'update' ? { existing } : {}) }, reader)
    return { allowed: true }
  } catch (thrown) {
    return refusalFor(thrown, logger)
  }
}

/** Fields that the API server keeps in every object and our kinds know nothing of. */
function withoutManagedFields(object: unknown): unknown {
  const { metadata, ...rest } = object as KubeObject & { metadata: Record<string, unknown> }
  const { managedFields: _managed, selfLink: _link, generateName: _name, ...known } = metadata
  return { ...rest, metadata: known }
}
