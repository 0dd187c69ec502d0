import { Type, type Static } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { asCarbonadoError, InvalidInput, type Logger } from '../../base/index.ts'
import { statusOf } from '../../store/index.ts'

/** What is read of an AdmissionReview (admission.k8s.io/v1). */
const AdmissionReview = Type.Object({
  request: Type.Object({
    uid: Type.String(),
    operation: Type.String(),
    kind: Type.Object({ group: Type.String(), version: Type.String(), kind: Type.String() }),
    namespace: Type.Optional(Type.String()),
    subResource: Type.Optional(Type.String()),
    userInfo: Type.Optional(
      Type.Object({
        username: Type.Optional(Type.String()),
        extra: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
      }),
    ),
    object: Type.Optional(Type.Unknown()),
    oldObject: Type.Optional(Type.Unknown()),
  }),
})
type AdmissionReview = Static<typeof AdmissionReview>
export type ReviewRequest = AdmissionReview['request']

/** What is answered: an allowed object may be changed by a JSON patch. */
export type ReviewDecision = { allowed: true; patch?: object[] } | { allowed: false; status: object }

const check = TypeCompiler.Compile(AdmissionReview)

/** The request in a body. Throws InvalidInput when it is none. */
export function reviewRequestOf(body: unknown): ReviewRequest {
  if (check.Check(body)) return body.request
  throw new InvalidInput('The body is not an AdmissionReview of admission.k8s.io/v1', {
    remedy: 'Only the API server calls this path.',
  })
}

/** The body of an answer. */
export function reviewAnswer({ uid }: ReviewRequest, decision: ReviewDecision): object {
  const { patch, ...verdict } = 'patch' in decision ? decision : { ...decision, patch: undefined }
  const change = patch?.length ? { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') } : {} // prettier-ignore
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, ...verdict, ...change } }
}

/** The refusal that tells of an error; what is not the caller's mistake is logged. */
export function refusalFor(thrown: unknown, logger: Logger): ReviewDecision {
  const error = asCarbonadoError(thrown)
  if (error.code === 'Internal') logger.error({ err: error }, 'admission failed')
  const message = [error.message, error.remedy].filter(Boolean).join('. ')
  return { allowed: false, status: { ...statusOf(error), message } }
}
