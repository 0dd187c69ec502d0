import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Socket } from 'node:net'
import { InvalidInput } from '../base/index.ts'
import { statusOf } from '../store/index.ts'

/** Codes and messages of Node's errors about requests that are not HTTP, or too slow. */
const meanings: Record<string, { code: number; reason: string; message: string }> = {
  HPE_HEADER_OVERFLOW: { code: 431, reason: 'RequestHeaderFieldsTooLarge', message: 'The headers are too large' },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 408, reason: 'RequestTimeout', message: 'The request did not come to its end' },
}

/** Answers what never becomes a request with the same error objects as everything else. */
export function answerProtocolErrors(server: Server | Http2SecureServer): void {
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    const meaning = meanings[error.code ?? '']
    const message = meaning?.message ?? `The request is not HTTP/1.1: ${error.message}`
    const { code, reason } = meaning ?? { code: 400, reason: 'BadRequest' }
    if (socket.writable && !hasAnswerBegun(socket)) socket.write(answer(code, reason, message))
    socket.destroy(error)
  })
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const body = bodyOf(417, 'ExpectationFailed', 'No expectation but 100-continue can be met')
    response.writeHead(417, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
  })
}

/** Whether an answer to an earlier part of what came is under way: then nothing can be put in between. */
function hasAnswerBegun(socket: Socket): boolean {
  return (socket as { _httpMessage?: ServerResponse })._httpMessage?.headersSent ?? false
}

function answer(code: number, reason: string, message: string): string {
  const body = bodyOf(code, reason, message)
  const headers = `Connection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}`
  return `HTTP/1.1 ${code} ${STATUS_CODES[code]}\r\n${headers}\r\n\r\n${body}`
}

function bodyOf(code: number, reason: string, message: string): string {
  return JSON.stringify({ ...statusOf(new InvalidInput(message, { remedy: 'Correct the request.' })), code, reason })
}
