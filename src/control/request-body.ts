import type { FastifyInstance, FastifyRequest } from 'fastify'
import { InvalidInput } from '../base/index.ts'

/** Deeper nesting than any kind has; it keeps recursive code from running out of stack. */
const deepest = 64

/** Takes JSON and JSON merge patches; every other content type is refused with 415. */
export function addBodyParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  for (const type of ['application/json', 'application/merge-patch+json']) {
    app.addContentTypeParser(type, { parseAs: 'string' }, (_request, text, done) => {
      try {
        done(null, parseBody(String(text)))
      } catch (error) {
        done(error as Error)
      }
    })
  }
}

/** Parses a request body; undefined for an empty one. Throws InvalidInput. */
function parseBody(text: string): unknown {
  if (text.trim() === '') return undefined
  if (tooDeep(text)) {
    throw new InvalidInput(`The body is nested more than ${deepest} levels deep`, { remedy: 'Send a flatter object.' })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new InvalidInput(`The body is not JSON: ${(error as Error).message}`, { remedy: 'Correct the body.' })
  }
}

/** The body as a JSON object. Throws InvalidInput when it is something else. */
export function bodyObject(request: FastifyRequest): Record<string, unknown> {
  const body = request.body
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw new InvalidInput('The body is not a JSON object', { remedy: 'Send the object as JSON.' })
}

/** Throws InvalidInput (UnsupportedMediaType) unless the request has this content type. */
export function demandContentType(request: FastifyRequest, expected: string): void {
  const type = (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase()
  if (type === expected) return
  throw new InvalidInput(`Content type "${type.slice(0, 80)}" is not taken here, expected ${expected}`, {
    remedy: `Send the body as ${expected}.`,
    details: { reason: 'UnsupportedMediaType' },
  })
}

function tooDeep(text: string): boolean {
  let depth = 0
  let inString = false
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index)
    if (inString) {
      if (character === 0x5c) index += 1
      else if (character === 0x22) inString = false
    } else if (character === 0x22) inString = true
    else if (character === 0x7b || character === 0x5b) {
      depth += 1
      if (depth > deepest) return true
    } else if (character === 0x7d || character === 0x5d) depth -= 1
  }
  return false
}
