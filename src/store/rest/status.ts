import {
  CarbonadoError,
  Conflict,
  Exhausted,
  Expired,
  Forbidden,
  Internal,
  InvalidInput,
  NotFound,
  Unavailable,
  type ErrorCode,
  type ErrorDetails,
} from '../../base/index.ts'

/** A failure as the Kubernetes API says it. `details.carbonado` carries what Kubernetes has no field for. */
export interface Status {
  kind: 'Status'
  apiVersion: 'v1'
  metadata: object
  status: 'Success' | 'Failure'
  message?: string
  reason?: string
  details?: {
    name?: string
    causes?: { reason?: string; field?: string; message?: string }[]
    carbonado?: { code: ErrorCode; remedy?: string; details?: ErrorDetails }
  }
  /** HTTP status code. */
  code: number
}

type ErrorOptions = { remedy?: string; details?: ErrorDetails }

/** HTTP code and Kubernetes reason of each error code, where nothing more is known of the error. */
const httpMeaning: Record<ErrorCode, { code: number; reason: string }> = {
  InvalidInput: { code: 400, reason: 'BadRequest' },
  NotFound: { code: 404, reason: 'NotFound' },
  Conflict: { code: 409, reason: 'Conflict' },
  Exhausted: { code: 409, reason: 'Exhausted' },
  Expired: { code: 410, reason: 'Expired' },
  Forbidden: { code: 403, reason: 'Forbidden' },
  Unavailable: { code: 503, reason: 'ServiceUnavailable' },
  Internal: { code: 500, reason: 'InternalError' },
}

/** Finer meanings, which an error asks for with `details.reason`. */
const finerMeaning: Record<string, { code: number; reason: string }> = {
  AlreadyExists: { code: 409, reason: 'AlreadyExists' },
  Unauthorized: { code: 401, reason: 'Unauthorized' },
  MethodNotAllowed: { code: 405, reason: 'MethodNotAllowed' },
  RequestEntityTooLarge: { code: 413, reason: 'RequestEntityTooLarge' },
  InsufficientStorage: { code: 507, reason: 'InsufficientStorage' },
  UnsupportedMediaType: { code: 415, reason: 'UnsupportedMediaType' },
}

/** The Status, with its HTTP code, that says what the error says. */
export function statusOf(error: CarbonadoError): Status {
  const { code: errorCode, message, remedy, details } = error
  const fields = Array.isArray(details.fields) ? (details.fields as { field: string; message: string }[]) : undefined
  const invalid = fields && { code: 422, reason: 'Invalid' }
  const { code, reason } = finerMeaning[String(details.reason)] ?? invalid ?? httpMeaning[errorCode]
  const causes = fields?.map((field) => ({ reason: 'FieldValueInvalid', ...field }))
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    details: { ...(causes ? { causes } : {}), carbonado: { code: errorCode, remedy, details } },
    code,
  }
}

const errorClasses = {
  InvalidInput,
  NotFound,
  Conflict,
  Exhausted,
  Expired,
  Forbidden,
  Unavailable,
  Internal,
} satisfies Record<ErrorCode, new (message: string, options: ErrorOptions) => CarbonadoError>

/** The error that a response with this HTTP code and body says; understands servers other than control too. */
export function errorOf(httpCode: number, body: unknown): CarbonadoError {
  const status = isStatus(body) ? body : undefined
  const message = status?.message ?? `The server answered with HTTP ${httpCode}`
  const carbonado = status?.details?.carbonado
  if (carbonado && Object.hasOwn(errorClasses, carbonado.code)) {
    const { remedy, details } = carbonado
    return new errorClasses[carbonado.code](message, { remedy, details })
  }
  const details: ErrorDetails = {}
  if (status?.reason && Object.hasOwn(finerMeaning, status.reason)) details.reason = status.reason
  const causes = status?.details?.causes
  if (httpCode === 422 && causes) details.fields = causes.map(({ field, message: why }) => ({ field, message: why }))
  // kube-apiserver answers a watch from a version that is none with 500 and no reason
  const code = /^resourceVersion: Invalid value/.test(message) ? 'InvalidInput' : codeOf(httpCode, causes)
  return new errorClasses[code](message, { details })
}

function codeOf(httpCode: number, causes: { reason?: string }[] | undefined): ErrorCode {
  // a version that the server has not reached: it was set back, and what was read before is not its history
  if (causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge')) return 'Expired'
  if (httpCode === 401 || httpCode === 403) return 'Forbidden'
  if (httpCode === 404) return 'NotFound'
  if (httpCode === 409) return 'Conflict'
  if (httpCode === 410) return 'Expired'
  if ([429, 502, 503, 504].includes(httpCode)) return 'Unavailable'
  return httpCode >= 400 && httpCode < 500 ? 'InvalidInput' : 'Internal'
}

function isStatus(body: unknown): body is Status {
  return typeof body === 'object' && body !== null && (body as { kind?: unknown }).kind === 'Status'
}
