/** A token that looks like a JSON Web Token for an audience, or for nobody in particular; `signature` tells it from others. */
export function webToken(aud?: string | string[], signature = 'signature'): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return [part({ alg: 'RS256' }), part({ aud }), signature].join('.')
}
