import { Unavailable } from '../../base/index.ts'

const longestLine = 16 * 1024 * 1024

/** Reads JSON documents, one per line, from a byte stream. Throws Unavailable for anything that is not that. */
export async function* readJsonLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of stream) {
    rest += decoder.decode(part, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop()!
    if (rest.length > longestLine) throw broken()
    for (const line of lines) if (line !== '') yield parse(line)
  }
  if (rest.trim() !== '') yield parse(rest)
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw broken() // also when the connection broke in the middle of a line
  }
}

function broken(): Unavailable {
  return new Unavailable('The watch was cut off, or is not made of lines of JSON', { remedy: 'Watch again.' })
}
