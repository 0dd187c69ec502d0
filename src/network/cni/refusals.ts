import { InvalidInput } from '../../base/index.ts'
import { cniCodes } from './errors.ts'

/** An environment variable of CNI that is missing or wrong (CNI code 4). */
export function invalidEnvironment(message: string, remedy: string): InvalidInput {
  return new InvalidInput(message, { remedy, details: { cniCode: cniCodes.invalidEnvironment } })
}

/** Standard input that cannot be decoded (CNI code 6). */
export function undecodable(message: string): InvalidInput {
  return new InvalidInput(message, {
    remedy: 'Give one JSON object of at most 1 MiB in UTF-8 on standard input.',
    details: { cniCode: cniCodes.decoding },
  })
}

/** A network configuration that decodes but is not right (CNI code 7). */
export function invalidConfiguration(message: string, remedy: string): InvalidInput {
  return new InvalidInput(message, { remedy, details: { cniCode: cniCodes.invalidConfiguration } })
}

/** A field that is not known, or known and not supported (CNI code 2). */
export function unsupportedField(message: string, remedy: string): InvalidInput {
  return new InvalidInput(message, { remedy, details: { cniCode: cniCodes.unsupportedField } })
}

/** Describes a value of any type for a message; short, and safe for values of any depth. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
