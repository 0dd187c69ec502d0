import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, makeGenericClientConstructor, status, type ServiceError } from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/proto-loader'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createLogger, InvalidInput } from '../../base/index.ts'
import { csiDefinition, CsiServer, type CsiMethod } from './csi-server.ts'

type Probe = (request: object, options: { deadline: number }, done: (error: ServiceError | null) => void) => void

let folder: string
let server: CsiServer | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'csi-server-'))
})
afterEach(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true })
})

/** What a caller of Probe gets when the method does this; undefined for success. */
async function probe(method: CsiMethod): Promise<ServiceError | undefined> {
  const socket = join(folder, 'csi.sock')
  server = new CsiServer(socket, [{ name: 'Identity', methods: { Probe: method } }], createLogger('test', 'silent'))
  await server.start()
  const definition = csiDefinition()['csi.v1.Identity'] as ServiceDefinition
  const client = new (makeGenericClientConstructor(definition, 'Identity'))(
    `unix://${socket}`,
    credentials.createInsecure(),
    { 'grpc.default_authority': 'localhost' },
  )
  try {
    return await new Promise((resolve) =>
      (client as unknown as { Probe: Probe }).Probe({}, { deadline: Date.now() + 10_000 }, (error) =>
        resolve(error ?? undefined),
      ),
    )
  } finally {
    client.close()
  }
}

it.each([
  ['half a character', `there is no volume x${'💾'.repeat(70).slice(0, 127)}`],
  ['a text that is cut within a character', `x${'💾'.repeat(1000)}`],
  ['bytes that no header may have', 'a\u0000b\r\nc\u007fd\u00ffe'],
])('an error with %s is told', async (_, message) => {
  const error = await probe(() => Promise.reject(new InvalidInput(message)))
  expect(error?.code).toBe(status.INVALID_ARGUMENT)
  expect(error?.details.slice(0, 1)).toBe(message.slice(0, 1))
  expect(error?.details.isWellFormed()).toBe(true)
})
