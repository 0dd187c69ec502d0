import type { IncomingHttpHeaders } from 'node:http'
import type { KubeObject } from '../../api/index.ts'

/**
 * How a client learns what will be answered before the disk has it: it asks with the preference (RFC 7240) below, and
 * the server sends the object in a header of an informational answer 103 (RFC 8297). Servers that know nothing of it
 * do nothing. It is no promise: only the answer itself is. That bears the version of its object as an entity tag (RFC
 * 9110, 8.8.3), so that a client that has the object already learns from the head alone that it has become true.
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

/** The entity tag of an object in the version that it has; undefined when it has none. */
export function entityTagOf(object: unknown): string | undefined {
  const version = (object as Partial<KubeObject> | null)?.metadata?.resourceVersion
  return version === undefined ? undefined : `"${version}"`
}

/** What a client is told early of the answer to one request. */
export class EarlyAnswer {
  readonly #tell: (likely: unknown) => void
  #likely: unknown

  /** `tell` is called with the object that will be answered, if that is told. */
  constructor(tell: (likely: unknown) => void) {
    this.#tell = tell
  }

  /** The object that was told of; undefined while none was. */
  get likely(): unknown {
    return this.#likely
  }

  /** Takes the headers of an informational answer. */
  take(headers: IncomingHttpHeaders): void {
    const likely = decodeEarlyAnswer(headers)
    if (likely === undefined) return
    this.#likely = likely
    try {
      this.#tell(likely)
    } catch {
      // it is not what was asked for; the answer itself will come
    }
  }

  /** Whether an answer with this head is the object that was told of, in the same version. */
  isConfirmedBy(statusCode: number, { etag }: IncomingHttpHeaders): boolean {
    return statusCode === 201 && etag !== undefined && etag === entityTagOf(this.#likely)
  }
}

function decodeEarlyAnswer(headers: IncomingHttpHeaders): unknown {
  const value = headers[earlyAnswerHeader]
  if (typeof value !== 'string') return undefined
  try {
    return JSON.parse(Buffer.from(value, 'base64').toString())
  } catch {
    return undefined // the answer itself will come
  }
}
