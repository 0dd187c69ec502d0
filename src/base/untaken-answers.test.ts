import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { endUntakenAnswers } from './untaken-answers.ts'

const patience = 200
const flood = Buffer.alloc(1 << 20)

let server: Server
let socket: Socket

afterEach(() => {
  socket.destroy()
  server.close()
})

/** The answer to the one request of a client. */
async function answerTo(clientOf: (port: number) => Socket): Promise<ServerResponse> {
  server = createServer()
  endUntakenAnswers(server, patience)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  socket = clientOf((server.address() as AddressInfo).port)
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nhost: control\r\n\r\n')
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse]
  return response
}

test('an answer of which a client takes nothing is ended', async () => {
  const response = await answerTo((port) => connect(port, '127.0.0.1').pause())
  for (let count = 0; count < 32; count++) response.write(flood)
  await expect.poll(() => response.destroyed, { timeout: 10_000 }).toBe(true)
})

test('one to which nothing was sent for long stays, and so does one that is taken', async () => {
  const response = await answerTo((port) => connect(port, '127.0.0.1').resume())
  response.write(flood)
  await delay(3 * patience)
  response.write(flood)
  await expect.poll(() => response.writableLength, { timeout: 10_000 }).toBe(0)
  expect(response.destroyed).toBe(false)
})
