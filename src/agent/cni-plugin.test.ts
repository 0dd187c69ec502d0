import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../base/index.ts'
import type { CniHandler } from '../network/cni/index.ts'
import { createCniServer } from './cni-server.ts'
import type { Part } from './parts.ts'

const directory = mkdtempSync(join(tmpdir(), 'carbonado-cni-'))
const plugin = join(directory, 'carbonado-cni')
const socket = join(directory, 'cni.sock')

beforeAll(() => {
  const source = new URL('../../cni/carbonado-cni.c', import.meta.url).pathname
  execFileSync('gcc', ['-Os', '-Wall', '-Wextra', '-Werror', '-static', source, '-o', plugin])
}, 60_000)
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let part: Part | undefined
let rawServer: Server | undefined
afterEach(async () => {
  await part?.stop()
  rawServer?.close()
  part = rawServer = undefined
})

async function serve(handler: CniHandler): Promise<void> {
  part = createCniServer(socket, handler, silentLogger())
  await part.start()
}

/** A server that answers every connection with given bytes, at once, and closes it, unless it is to stay open. */
async function serveBytes(bytes: Buffer, { staysOpen = false } = {}): Promise<void> {
  rawServer = createServer((connection) => {
    connection.on('error', () => {})
    if (staysOpen) connection.write(bytes)
    else connection.end(bytes)
  })
  await new Promise<void>((resolve) => rawServer!.listen(socket, resolve))
}

function run(
  environment: Record<string, string>,
  input: Buffer | string = '{"cniVersion":"0.4.0","name":"x"}',
): Promise<{ exitCode: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(plugin, [], { env: { CARBONADO_CNI_SOCKET: socket, ...environment } })
    let output = ''
    child.stdout.on('data', (part: Buffer) => (output += part.toString()))
    child.stdin.on('error', () => {}) // it may refuse before it has read all
    child.stdin.end(input)
    child.on('close', (exitCode) => resolve({ exitCode, output }))
  })
}

describe('the plugin', () => {
  test('is announced before its request is handled', async () => {
    const told: string[] = []
    part = createCniServer(
      socket,
      async () => {
        told.push('request')
        return { exitCode: 0, output: '{}' }
      },
      silentLogger(),
      () => told.push('plugin'),
    )
    await part.start()
    await run({ CNI_COMMAND: 'STATUS' })
    expect(told).toEqual(['plugin', 'request'])
  })

  test('hands over its CNI_ variables and standard input, and prints the answer', async () => {
    await serve(async (environment, input) => ({
      exitCode: 3,
      output: JSON.stringify({ environment: Object.fromEntries(environment), input: Buffer.from(input).toString() }),
    }))
    const { exitCode, output } = await run({ CNI_COMMAND: 'ADD', CNI_ARGS: 'a=b;c=d', CNI_IFNAME: '', OTHER: 'x' })
    expect(exitCode).toBe(3)
    expect(JSON.parse(output)).toEqual({
      environment: { CNI_COMMAND: 'ADD', CNI_ARGS: 'a=b;c=d', CNI_IFNAME: '' },
      input: '{"cniVersion":"0.4.0","name":"x"}',
    })
  })

  test('hands over a whole MiB, and refuses more with code 6', async () => {
    await serve(async (_environment, input) => ({ exitCode: 0, output: String(input.length) }))
    expect(await run({ CNI_COMMAND: 'ADD' }, Buffer.alloc(1024 * 1024, 32))).toEqual({ exitCode: 0, output: '1048576' })
    const refused = await run({ CNI_COMMAND: 'ADD' }, Buffer.alloc(1024 * 1024 + 1, 32))
    expect(refused.exitCode).toBe(1)
    expect(JSON.parse(refused.output)).toMatchObject({ code: 6 })
  })

  test('prints a long answer whole', async () => {
    const output = 'x'.repeat(900_000)
    await serve(async () => ({ exitCode: 0, output }))
    expect(await run({ CNI_COMMAND: 'ADD' })).toEqual({ exitCode: 0, output })
  })

  test('does not wait for the end of the connection once it has the line', async () => {
    await serveBytes(Buffer.from('\x03{"a":1}\n'), { staysOpen: true })
    expect(await run({ CNI_COMMAND: 'ADD' })).toEqual({ exitCode: 3, output: '{"a":1}\n' })
  })

  test('without an agent says code 11 in the version asked for', async () => {
    const ask = async (input: string): Promise<unknown> => JSON.parse((await run({ CNI_COMMAND: 'ADD' }, input)).output)
    expect(await ask('{"cniVersion": "0.4.0"}')).toMatchObject({ code: 11, cniVersion: '0.4.0' })
    expect(await ask('{"cniVersion" : "1.1.0", "name": "x"}')).toMatchObject({ code: 11, cniVersion: '1.1.0' })
    for (const hostile of [
      '',
      '{',
      '{"cniVersion"',
      '{"cniVersion":"',
      '{"cniVersion":"1.0',
      '{"cniVersion":"1\\"x"}',
    ]) {
      expect(await ask(hostile)).toMatchObject({ code: 11, cniVersion: '1.0.0' })
    }
    expect(await ask(`{"cniVersion":"${'1'.repeat(100)}"}`)).toMatchObject({ cniVersion: '1.0.0' })
    expect(await ask('{"cniVersion":"\0\0"}')).toMatchObject({ cniVersion: '1.0.0' })
  })

  test('without an agent answers VERSION itself', async () => {
    const { exitCode, output } = await run({ CNI_COMMAND: 'VERSION' }, '')
    expect(exitCode).toBe(0)
    expect(JSON.parse(output)).toMatchObject({ supportedVersions: expect.arrayContaining(['0.1.0', '1.1.0']) as never })
  })

  test('says code 11 when the agent dies without an answer', async () => {
    await serveBytes(Buffer.alloc(0))
    expect(JSON.parse((await run({ CNI_COMMAND: 'ADD' })).output)).toMatchObject({ code: 11 })
  })

  test('says code 4 for a socket path that is none', async () => {
    const environment = { CNI_COMMAND: 'ADD', CARBONADO_CNI_SOCKET: `/${'x'.repeat(200)}` }
    expect(JSON.parse((await run(environment)).output)).toMatchObject({ code: 4 })
  })
})

describe('the socket', () => {
  const frame = (environment: string, input: string): Buffer => {
    const block = (content: string): Buffer => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(Buffer.byteLength(content))
      return Buffer.concat([length, Buffer.from(content)])
    }
    return Buffer.concat([Buffer.from('CARBONADO-CNI/1\n'), block(environment), block(input)])
  }

  function exchange(...parts: Buffer[]): Promise<Buffer> {
    return new Promise((resolve) => {
      const connection = connect(socket)
      const received: Buffer[] = []
      connection.on('data', (data: Buffer) => received.push(data))
      connection.on('error', () => {})
      connection.on('close', () => resolve(Buffer.concat(received)))
      void (async () => {
        for (const part of parts) {
          connection.write(part)
          await new Promise((next) => setTimeout(next, 2))
        }
      })()
    })
  }

  const echo: CniHandler = async (environment, input) => ({
    exitCode: 0,
    output: `${[...environment].join(';')}|${Buffer.from(input).toString()}`,
  })

  test('takes a request that comes byte by byte', async () => {
    await serve(echo)
    const bytes = [...frame('CNI_A=1\0CNI_B=x=y\0', '{}')].map((byte) => Buffer.from([byte]))
    expect((await exchange(...bytes)).subarray(1).toString()).toBe('CNI_A,1;CNI_B,x=y|{}')
  })

  test.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a length beyond the limit', Buffer.concat([Buffer.from('CARBONADO-CNI/1\n'), Buffer.from([255, 255, 255, 255])])],
    ['bytes after the end', Buffer.concat([frame('', ''), Buffer.from('x')])],
  ])('answers %s with an error', async (_what, bytes) => {
    await serve(echo)
    const reply = await exchange(bytes)
    expect(reply[0]).toBe(1)
    expect(JSON.parse(reply.subarray(1).toString())).toMatchObject({ code: 6 })
  })

  test('takes the place of one that a killed agent left, but not of one that answers', async () => {
    await serve(echo)
    const second = createCniServer(socket, echo, silentLogger())
    await expect(second.start()).rejects.toMatchObject({ code: 'Conflict' })
    await part!.stop()
    const kill = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
    expect(spawnSync(process.execPath, ['-e', kill, socket]).signal).toBe('SIGKILL')
    expect(existsSync(socket)).toBe(true)
    await serve(echo)
    expect((await exchange(frame('', ''))).toString()).toContain('|')
  })
})
