import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import {
  createServer as createTcpServer,
  connect as connectTcp,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { makeCertificate } from '../../test/support/control-files.ts'
import { raceConnections } from './connection-race.ts'

let folder: string
let ca: string
let server: Server
/** Accepts for the server, and passes on nothing of the first `lost` connections. */
let lossy: Server
let lost: number
let accepted: Socket[]

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-race-'))
  await makeCertificate(join(folder, 'tls.crt'), join(folder, 'tls.key'))
  ca = readFileSync(join(folder, 'tls.crt'), 'utf8')
  server = createTlsServer({ cert: ca, key: readFileSync(join(folder, 'tls.key')) })
  server.on('tlsClientError', () => {})
  lossy = createTcpServer((socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
    if (accepted.length <= lost) return void socket.resume()
    const onwards = connectTcp(portOf(server), '127.0.0.1').on('error', () => {})
    socket.pipe(onwards).pipe(socket)
  })
  await Promise.all([server, lossy].map((each) => new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve))))
})
beforeEach(() => {
  accepted = []
  lost = 0
})
afterAll(() => {
  server.close()
  lossy.close()
  rmSync(folder, { recursive: true })
})

const portOf = (of: Server): number => (of.address() as AddressInfo).port
const pace = { unanswered: 10, accepted: 20 }
const host = '127.0.0.1'

test('takes the first connection, and begins no other, where nothing is lost', async () => {
  const patient = { unanswered: 8_000, accepted: 8_000 } // more than a busy machine needs
  const socket = await raceConnections({ host, port: portOf(lossy), ca }, undefined, patient)
  expect(socket.authorized).toBe(true)
  expect(accepted).toHaveLength(1)
  socket.destroy()
})

test('takes a later one where the first are lost, and closes those', async () => {
  lost = 3
  const socket = await raceConnections({ host, port: portOf(lossy), ca }, undefined, pace)
  expect(socket.authorized).toBe(true)
  await expect.poll(() => accepted.slice(0, 3).every(({ readableEnded }) => readableEnded)).toBe(true)
  expect(socket.destroyed).toBe(false)
  socket.destroy()
})

test('begins eight at the most, and closes all of them when it is given up', async () => {
  lost = Infinity
  const closing = new AbortController()
  const race = raceConnections({ host, port: portOf(lossy), ca }, closing.signal, pace)
  await expect.poll(() => accepted.length).toBe(8)
  closing.abort(new Error('the client was closed'))
  await expect(race).rejects.toThrow('the client was closed')
  await expect.poll(() => accepted.every(({ readableEnded }) => readableEnded)).toBe(true)
  expect(accepted).toHaveLength(8)
})

test('says at once why a connection is refused, or a certificate not believed', async () => {
  await expect(raceConnections({ host, port: 1 })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  await expect(raceConnections({ host, port: portOf(server) })).rejects.toMatchObject({
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  })
  const aborted = AbortSignal.abort(new Error('too late'))
  await expect(raceConnections({ host, port: portOf(lossy), ca }, aborted)).rejects.toThrow('too late')
  expect(accepted).toEqual([])
})
