import type { IncomingHttpHeaders } from 'node:http'

/**
 * How a client learns what will be answered before the disk has it: it asks with the preference (RFC 7240) below, and
 * the server sends the object in a header of an informational answer 103 (RFC 8297). Servers that know nothing of it
 * do nothing. It is no promise: only the answer itself is.
 */
export const earlyPreference = 'carbonado-early-answer'
export const earlyAnswerHeader = 'carbonado-early-answer'

/** Characters of a header; clients refuse headers of more than 16 KiB in all. */
const longest = 12_000

/** Whether a request asks for an early answer. */
export function wantsEarlyAnswer({ prefer }: IncomingHttpHeaders): boolean {
  return [prefer ?? []].flat().includes(earlyPreference)
}

/** The header's value; undefined for an object that is too large for a header. */
export function encodeEarlyAnswer(object: object): string | undefined {
  const value = Buffer.from(JSON.stringify(object)).toString('base64')
  return value.length > longest ? undefined : value
}

/** The object in the headers of an informational answer, or undefined. */
export function decodeEarlyAnswer<T>(headers: IncomingHttpHeaders): T | undefined {
  const value = headers[earlyAnswerHeader]
  if (typeof value !== 'string') return undefined
  try {
    return JSON.parse(Buffer.from(value, 'base64').toString()) as T
  } catch {
    return undefined // the answer itself will come
  }
}
