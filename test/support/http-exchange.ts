import { connect, type Socket } from 'node:net'

/** Milliseconds for an answer. */
const patience = 20_000
const patienceWithEndless = 50

/** An answer as it came over the wire. */
export interface RawAnswer {
  code: number
  headers: Record<string, string>
  body: string
  /** Whether the server closes the connection after it. */
  isLast: boolean
}

/**
 * One connection over which whole requests are sent as bytes, one after the other, and answers are read by the rules of
 * RFC 9112. Opens a new one when the server has closed it.
 */
export class HttpExchange {
  readonly #path: string
  #socket: Socket | undefined
  #received: Buffer = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #isClosed = false
  connections = 0

  constructor(socketPath: string) {
    this.#path = socketPath
  }

  /**
   * Sends bytes and reads the answer; undefined when there is none within some seconds, or the server closed without. One
   * that was closed already, since an earlier request was bad, is opened anew. `isEndless`: nothing is sent after it.
   */
  async send(request: Buffer, { isHead = false, isEndless = false } = {}): Promise<RawAnswer | undefined> {
    const isNew = !this.#socket
    const answer = await this.#sendOnce(request, isHead, isEndless)
    return answer ?? (isNew || isEndless ? undefined : this.#sendOnce(request, isHead, isEndless))
  }

  async #sendOnce(request: Buffer, isHead: boolean, isEndless: boolean): Promise<RawAnswer | undefined> {
    const socket = (this.#socket ??= this.#open())
    socket.write(request)
    const giveUp = setTimeout(() => socket.destroy(), isEndless ? patienceWithEndless : patience)
    try {
      const answer = await this.#read(isHead)
      if (!answer || answer.isLast || isEndless) this.close()
      return answer
    } finally {
      clearTimeout(giveUp)
    }
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #open(): Socket {
    const socket = connect(this.#path)
    this.connections++
    this.#received = Buffer.alloc(0)
    this.#isClosed = false
    socket.on('data', (part: Buffer) => {
      this.#received = this.#received.length === 0 ? part : Buffer.concat([this.#received, part])
      this.#wake?.()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (socket !== this.#socket) return
      this.#isClosed = true
      this.#wake?.()
    })
    return socket
  }

  async #read(isHead: boolean): Promise<RawAnswer | undefined> {
    for (;;) {
      const answer = this.#parse(isHead)
      if (answer) return answer
      if (this.#isClosed) return undefined
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
  }

  #parse(isHead: boolean): RawAnswer | undefined {
    const end = this.#received.indexOf('\r\n\r\n')
    if (end < 0) return undefined
    const [status = '', ...lines] = this.#received.toString('latin1', 0, end).split('\r\n')
    const code = Number(/^HTTP\/1\.1 (\d{3})/.exec(status)?.[1])
    if (code === 100) {
      this.#received = this.#received.subarray(end + 4)
      return this.#parse(isHead)
    }
    const headers = Object.fromEntries(lines.map((line) => splitHeader(line)))
    const rest = this.#received.subarray(end + 4)
    const isLast = headers.connection === 'close'
    const hasNoBody = isHead || code === 204 || code === 304
    const body = hasNoBody ? { text: '', length: 0 } : bodyOf(rest, headers, isLast && this.#isClosed)
    if (!body) return undefined
    this.#received = rest.subarray(body.length)
    return { code, headers, body: body.text, isLast }
  }
}

function splitHeader(line: string): [string, string] {
  const at = line.indexOf(':')
  return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()]
}

function bodyOf(
  rest: Buffer,
  headers: Record<string, string>,
  isWhole: boolean,
): { text: string; length: number } | undefined {
  const length = headers['content-length']
  if (length !== undefined) {
    if (rest.length < Number(length)) return undefined
    return { text: rest.toString('utf8', 0, Number(length)), length: Number(length) }
  }
  if (headers['transfer-encoding'] === 'chunked') return chunksOf(rest)
  return isWhole ? { text: rest.toString(), length: rest.length } : undefined
}

function chunksOf(rest: Buffer): { text: string; length: number } | undefined {
  let [text, at] = ['', 0]
  for (;;) {
    const line = rest.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(rest.toString('latin1', at, line), 16)
    if (rest.length < line + 2 + size + 2) return undefined
    text += rest.toString('utf8', line + 2, line + 2 + size)
    at = line + 2 + size + 2
    if (size === 0) return { text, length: at }
  }
}
