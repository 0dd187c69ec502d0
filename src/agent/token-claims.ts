/**
 * Whom a token says that it is for, which nobody has verified; empty where it says nothing. Undefined when it does not even
 * look like a JSON Web Token (RFC 7519).
 */
export function claimedAudiences(token: string): string[] | undefined {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token)?.[1]
  const claims = payload === undefined ? undefined : parseJson(Buffer.from(payload, 'base64url').toString())
  if (typeof claims !== 'object' || claims === null) return undefined
  const { aud = [] } = claims as { aud?: unknown }
  return [aud].flat().filter((each) => typeof each === 'string')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
