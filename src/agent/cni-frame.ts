import { InvalidInput } from '../base/index.ts'
import { cniCodes } from '../network/cni/index.ts'

/** First line of a request of the CNI plugin. */
const cniGreeting = Buffer.from('CARBONADO-CNI/1\n')

const maximumEnvironment = 128 * 1024
const maximumInput = 1024 * 1024

/** A whole request of the CNI plugin. */
export interface CniFrame {
  environment: Map<string, string>
  input: Buffer
}

/**
 * Puts a request together from what arrives: greeting, u32 length and environment (`KEY=VALUE\0...`), u32 length and
 * standard input; lengths are little endian. The plugin is cni/carbonado-cni.c.
 */
export class CniFrameReader {
  #received: Buffer = Buffer.alloc(0)

  /** Takes bytes; returns the request once it is complete. Throws InvalidInput for anything that cannot become one. */
  push(part: Buffer): CniFrame | undefined {
    this.#received = this.#received.length === 0 ? part : Buffer.concat([this.#received, part])
    const data = this.#received
    const greeting = data.subarray(0, cniGreeting.length)
    if (!greeting.equals(cniGreeting.subarray(0, greeting.length))) throw malformed('does not begin with its greeting')
    const environment = blockAt(data, cniGreeting.length, maximumEnvironment)
    if (!environment) return undefined
    const input = blockAt(data, environment.end, maximumInput)
    if (!input) return undefined
    if (input.end < data.length) throw malformed('is longer than it says')
    return { environment: parseEnvironment(environment.content), input: input.content }
  }
}

function blockAt(data: Buffer, offset: number, maximum: number): { content: Buffer; end: number } | undefined {
  if (data.length < offset + 4) return undefined
  const length = data.readUInt32LE(offset)
  if (length > maximum) throw malformed(`has a part of ${length} bytes, expected at most ${maximum}`)
  const end = offset + 4 + length
  return data.length < end ? undefined : { content: data.subarray(offset + 4, end), end }
}

function parseEnvironment(block: Buffer): Map<string, string> {
  const entries = block.toString().split('\0')
  return new Map(
    entries.flatMap((entry) => {
      const at = entry.indexOf('=')
      return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)] as const] : []
    }),
  )
}

function malformed(what: string): InvalidInput {
  return new InvalidInput(`the request on the CNI socket ${what}`, {
    remedy: 'Use the carbonado-cni plugin that belongs to this agent.',
    details: { cniCode: cniCodes.decoding },
  })
}
