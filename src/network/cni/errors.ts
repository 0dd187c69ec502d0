import { asCarbonadoError, type CarbonadoError, type ErrorCode } from '../../base/index.ts'

/** Error codes of the CNI specification (below 100) and Carbonado's own (docs/errors.md). */
export const cniCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  /** The container is not known or gone; the runtime need not clean up after it. */
  unknownContainer: 3,
  invalidEnvironment: 4,
  inputOutput: 5,
  decoding: 6,
  invalidConfiguration: 7,
  tryAgainLater: 11,
  /** STATUS: no container can be added now. */
  notAvailable: 50,
  /** STATUS: as 50, and containers that exist may have lost connectivity. */
  limitedConnectivity: 51,
  internal: 100,
  conflict: 101,
  exhausted: 102,
  notFound: 103,
  forbidden: 104,
  /** CHECK found a difference between what was attached and what is there. */
  checkFailed: 110,
} as const

const codeOf: Record<ErrorCode, number> = {
  InvalidInput: cniCodes.invalidConfiguration,
  NotFound: cniCodes.notFound,
  Conflict: cniCodes.conflict,
  Exhausted: cniCodes.exhausted,
  Expired: cniCodes.tryAgainLater,
  Forbidden: cniCodes.forbidden,
  Unavailable: cniCodes.tryAgainLater,
  Internal: cniCodes.internal,
}

/** The error object of the CNI specification. */
export interface CniError {
  cniVersion: string
  code: number
  msg: string
  details?: string
}

/**
 * The one mapper from errors to CNI: `details.cniCode` where the error's origin knew it better, else by ErrorCode.
 * `msg` says what was wrong, `details` what to do.
 */
export function toCniError(thrown: unknown, cniVersion: string): CniError {
  const error = asCarbonadoError(thrown)
  const msg = error.message.slice(0, 4096)
  return { cniVersion, code: cniCodeOf(error), msg, ...(error.remedy ? { details: error.remedy.slice(0, 4096) } : {}) }
}

function cniCodeOf(error: CarbonadoError): number {
  const own = error.details.cniCode
  return typeof own === 'number' ? own : codeOf[error.code]
}
