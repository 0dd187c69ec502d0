import type { FastifyInstance } from 'fastify'
import { Type, type Static } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { validate, type KindDefinition, type KubeObject } from '../../api/index.ts'
import { asCarbonadoError, InvalidInput, type Logger } from '../../base/index.ts'
import { statusOf, type Admit, type SyncReader } from '../../store/index.ts'

/** Path at which the API server asks. */
export const admissionPath = '/webhooks/admission'

/** What is read of an AdmissionReview (admission.k8s.io/v1). */
const AdmissionReview = Type.Object({
  request: Type.Object({
    uid: Type.String(),
    operation: Type.String(),
    kind: Type.Object({ group: Type.String(), version: Type.String(), kind: Type.String() }),
    subResource: Type.Optional(Type.String()),
    object: Type.Optional(Type.Unknown()),
    oldObject: Type.Optional(Type.Unknown()),
  }),
})
type AdmissionReview = Static<typeof AdmissionReview>

const check = TypeCompiler.Compile(AdmissionReview)

const verbs = { CREATE: 'create', UPDATE: 'update', DELETE: 'delete' } as const

/** Answers the API server whether a write to one of our kinds may happen, by the same rules as control's own store. */
export function addAdmissionWebhook(
  app: FastifyInstance,
  { kinds, admit, reader, logger }: { kinds: KindDefinition[]; admit: Admit; reader: SyncReader; logger: Logger },
): void {
  app.post(admissionPath, async (request) => {
    const review = request.body
    if (!check.Check(review)) {
      throw new InvalidInput('The body is not an AdmissionReview of admission.k8s.io/v1', {
        remedy: 'Only the API server calls this path.',
      })
    }
    return answer(review, decide(review.request, kinds, admit, reader, logger))
  })
}

type Decision = { allowed: true } | { allowed: false; status: object }

function decide(
  request: AdmissionReview['request'],
  kinds: KindDefinition[],
  admit: Admit,
  reader: SyncReader,
  logger: Logger,
): Decision {
  const kind = kinds.find(({ group, kind }) => group === request.kind.group && kind === request.kind.kind)
  const verb = verbs[request.operation as keyof typeof verbs] as (typeof verbs)[keyof typeof verbs] | undefined
  if (!kind || !verb || request.subResource) return { allowed: true }
  try {
    const existing = request.oldObject ? (request.oldObject as KubeObject) : undefined
    const object = verb === 'delete' ? existing! : validate(kind, withoutManagedFields(request.object))
    admit({ verb, kind, object, ...(verb === 'update' ? { existing } : {}) }, reader)
    return { allowed: true }
  } catch (thrown) {
    const error = asCarbonadoError(thrown)
    if (error.code === 'Internal') logger.error({ err: error }, 'admission failed')
    const status = statusOf(error)
    return { allowed: false, status: { ...status, message: [error.message, error.remedy].filter(Boolean).join('. ') } }
  }
}

/** Fields that the API server keeps in every object and our kinds know nothing of. */
function withoutManagedFields(object: unknown): unknown {
  const { metadata, ...rest } = object as KubeObject & { metadata: Record<string, unknown> }
  const { managedFields: _managed, selfLink: _link, generateName: _name, ...known } = metadata
  return { ...rest, metadata: known }
}

function answer({ request }: AdmissionReview, decision: Decision): object {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: { uid: request.uid, ...decision },
  }
}
