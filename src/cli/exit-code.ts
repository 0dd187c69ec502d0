import { CommanderError } from 'commander'
import { asCarbonadoError, type ErrorCode } from '../base/index.ts'
import { Declined } from './confirm.ts'

/** Exit code of dctl for each error code; listed in docs/dctl.md. 1 is "a check found something" or "you said no". */
export const exitCodes: Record<ErrorCode, number> = {
  InvalidInput: 2,
  NotFound: 3,
  Conflict: 4,
  Exhausted: 5,
  Forbidden: 6,
  Unavailable: 7,
  Expired: 8,
  Internal: 70,
}

/** The exit code for anything that a verb or the parser of the command line threw. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof Declined) return 1
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : exitCodes.InvalidInput
  return exitCodes[asCarbonadoError(thrown).code] ?? exitCodes.Internal
}
