import { CarbonadoError, type ErrorCode } from '../src/base/index.ts'
import type { CniError } from './cni.ts'

/** A CNI plugin refused; `cni` is the error object that it printed. */
export class CniFailure extends CarbonadoError {
  readonly cni: CniError

  constructor(verb: string, container: string, cni: CniError) {
    super(codeOf(cni.code), `CNI ${verb} of container ${container} failed with code ${cni.code}: ${cni.msg}`, {
      remedy: cni.details,
      details: { cni },
    })
    this.cni = cni
  }
}

/** Codes below 100 are the specification's: 5 to 7 mean the caller, 11 and 50 come back later. */
function codeOf(code: number): ErrorCode {
  if (code === 11 || code === 50 || code === 51) return 'Unavailable'
  return code < 100 ? 'InvalidInput' : 'Conflict'
}
