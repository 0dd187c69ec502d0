import { asCarbonadoError, CarbonadoError } from '../base/index.ts'
import { Declined } from './confirm.ts'

/** What dctl writes to standard error when a verb failed: what was wrong, then what to do. */
export function errorText(thrown: unknown, options: { debug: boolean }): string {
  if (thrown instanceof Declined) return thrown.message
  const error = asCarbonadoError(thrown)
  const lines = [`dctl: ${error.message}`]
  const remedy = remedyOf(error)
  if (remedy !== undefined) lines.push(`  ${remedy}`)
  if (!(thrown instanceof CarbonadoError) && !options.debug) lines.push('  Run it again with --debug to see where.')
  if (options.debug) lines.push(...debugLines(error))
  return lines.join('\n')
}

const certificateProblems = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED',
])

/** What to do, in terms of dctl's own flags where they are what helps. */
function remedyOf(error: CarbonadoError): string | undefined {
  const reason = (error.cause as { code?: string } | undefined)?.code
  if (reason !== undefined && certificateProblems.has(reason)) {
    return 'Name the authority that signed the certificate with --ca-cert FILE and use a server name that it holds.'
  }
  if (error.details.reason === 'Unauthorized') return 'Sign in with `dctl login --token-file FILE`, or check the token.'
  return error.remedy
}

function debugLines(error: CarbonadoError): string[] {
  const lines = [`  code: ${error.code}`]
  if (Object.keys(error.details).length > 0) lines.push(`  details: ${JSON.stringify(error.details)}`)
  for (let at: unknown = error; at instanceof Error; at = at.cause) lines.push(at.stack ?? String(at))
  return lines
}
