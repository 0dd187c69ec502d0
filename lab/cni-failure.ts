import { CarbonadoError, type ErrorCode } from '../src/base/index.ts'
import { cniCodes } from '../src/network/cni/index.ts'
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

/** Carbonado's own codes have the error they stand for; of the specification's, 11 and 50 mean come back later. */
function codeOf(code: number): ErrorCode {
  const own: Record<number, ErrorCode> = {
    [cniCodes.tryAgainLater]: 'Unavailable',
    [cniCodes.notAvailable]: 'Unavailable',
    [cniCodes.limitedConnectivity]: 'Unavailable',
    [cniCodes.internal]: 'Internal',
    [cniCodes.exhausted]: 'Exhausted',
    [cniCodes.notFound]: 'NotFound',
    [cniCodes.forbidden]: 'Forbidden',
  }
  return own[code] ?? (code < cniCodes.internal ? 'InvalidInput' : 'Conflict')
}
