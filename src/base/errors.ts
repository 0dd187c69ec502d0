/** Stable error codes, listed with cause and remedy in docs/errors.md (a test ties the two). */
export type ErrorCode =
  'InvalidInput' | 'NotFound' | 'Conflict' | 'Exhausted' | 'Expired' | 'Forbidden' | 'Unavailable' | 'Internal'

/** Extra facts for machines: field errors, numbers, names. Never secrets. */
export type ErrorDetails = Record<string, unknown>

/**
 * Root of every error that Carbonado raises on purpose.
 * `message` says what was wrong and what was expected; `remedy` says what to do.
 */
export class CarbonadoError extends Error {
  readonly code: ErrorCode
  readonly remedy: string | undefined
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
    message: string,
    options: { remedy?: string; details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = code
    this.code = code
    this.remedy = options.remedy
    this.details = options.details ?? {}
  }
}

type Options = { remedy?: string; details?: ErrorDetails; cause?: unknown }

/** The caller asked for something that can never be right as written. */
export class InvalidInput extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('InvalidInput', message, options)
  }
}

/** The named thing does not exist. */
export class NotFound extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('NotFound', message, options)
  }
}

/** The request is well formed but collides with what exists: a name, a version, something in use. */
export class Conflict extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Conflict', message, options)
  }
}

/** No addresses, bandwidth, interfaces or space are left; the message carries the numbers. */
export class Exhausted extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Exhausted', message, options)
  }
}

/** The resourceVersion or continue token is older than what the store remembers (HTTP 410): list again. */
export class Expired extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Expired', message, options)
  }
}

/** The caller has not said who it is, or may not do this. */
export class Forbidden extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Forbidden', message, options)
  }
}

/** A part that is needed does not answer now; the same request may succeed later. */
export class Unavailable extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Unavailable', message, options)
  }
}

/** A defect in Carbonado or a state it does not know how to repair. */
export class Internal extends CarbonadoError {
  constructor(message: string, options: Options = {}) {
    super('Internal', message, options)
  }
}

/** Turns anything thrown into a CarbonadoError, keeping what is known. */
export function asCarbonadoError(thrown: unknown): CarbonadoError {
  if (thrown instanceof CarbonadoError) return thrown
  if (thrown instanceof Error) return new Internal(thrown.message, { cause: thrown })
  return new Internal(String(thrown))
}

/** An error as a program prints it to a person: what was wrong, then what to do. Ends with a line end. */
export function errorLines(program: string, { message, remedy }: CarbonadoError): string {
  return `${program}: ${message}\n${remedy === undefined ? '' : `  ${remedy}\n`}`
}
