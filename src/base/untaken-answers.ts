import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Http2SecureServer } from 'node:http2'

/** Milliseconds. */
const usualPatience = 60_000

/**
 * Ends answers over HTTP/1.1 of which a client has taken nothing for `patience` milliseconds, such as a watch that goes on into
 * memory. Node sees to it that one that takes some counts as alive; one to which nothing was sent stays.
 */
export function endUntakenAnswers(server: Server | Http2SecureServer, patience = usualPatience): void {
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.httpVersionMajor !== 1) return // sessions of HTTP/2 have limits of their own
    response.setTimeout(patience, () => {
      if (response.writableLength > 0) response.destroy()
    })
  })
}
