import { CarbonadoError, type ErrorCode } from '../../base/index.ts'

/** Codes of gRPC that the clauses of CSI name. */
export type CsiCode =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNAVAILABLE'
  | 'PERMISSION_DENIED'
  | 'INTERNAL'

const errorCodes: Record<CsiCode, ErrorCode> = {
  INVALID_ARGUMENT: 'InvalidInput',
  NOT_FOUND: 'NotFound',
  ALREADY_EXISTS: 'Conflict',
  RESOURCE_EXHAUSTED: 'Exhausted',
  FAILED_PRECONDITION: 'Conflict',
  ABORTED: 'Unavailable',
  OUT_OF_RANGE: 'Exhausted',
  UNAVAILABLE: 'Unavailable',
  PERMISSION_DENIED: 'Forbidden',
  INTERNAL: 'Internal',
}

const csiCodes: Record<ErrorCode, CsiCode> = {
  InvalidInput: 'INVALID_ARGUMENT',
  NotFound: 'NOT_FOUND',
  Conflict: 'FAILED_PRECONDITION',
  Exhausted: 'RESOURCE_EXHAUSTED',
  Expired: 'ABORTED',
  Forbidden: 'PERMISSION_DENIED',
  Unavailable: 'UNAVAILABLE',
  Internal: 'INTERNAL',
}

/** An error with the very code that CSI asks for in a case; others are mapped by `csiCodeOf`. */
export class CsiError extends CarbonadoError {
  readonly csiCode: CsiCode

  constructor(csiCode: CsiCode, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(errorCodes[csiCode], message, options)
    this.csiCode = csiCode
  }
}

/** The code that the caller is told. */
export function csiCodeOf(error: CarbonadoError): CsiCode {
  return error instanceof CsiError ? error.csiCode : csiCodes[error.code]
}
