import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { PerfTier } from '../../src/api/index.ts'
import { makeControlFiles, testTokens } from './control-files.ts'
import { startControlProcess } from './control-process.ts'
import { HttpExchange, type RawAnswer } from './http-exchange.ts'
import { MalformedRequests } from './malformed-requests.ts'
import { useOf } from './process-use.ts'
import { seededRandom } from './random.ts'

const connections = 16
/** Kilobytes that control's memory may grow by after the first tenth: garbage that is not collected yet. */
const growthLimit = 120_000

/** What was answered. */
export interface RestFuzzTally {
  codes: Record<string, number>
  seconds: number
  connections: number
  kilobytes: { before: number; after: number }
}

/**
 * Sends `count` malformed requests to a control process. Each must get a well-formed answer: what was asked for, or a
 * Status that says what was wrong. Afterwards the same process serves as before, without more memory or open files.
 */
export async function fuzzRest(count: number): Promise<RestFuzzTally> {
  const random = seededRandom()
  console.log(`${count} requests: CARBONADO_SEED=${random.seed}`)
  using files = await makeControlFiles()
  const control = await startControlProcess(files)
  const socketPath = join(files.folder, 'control.sock')
  const pid = control.child.pid!
  const tally: RestFuzzTally = { codes: {}, seconds: 0, connections: 0, kilobytes: { before: 0, after: 0 } }
  try {
    const slow = await openSlowRequests(socketPath)
    const client = control.client()
    await client.list(PerfTier)
    const before = useOf(pid)
    const begun = performance.now()
    await Promise.all(Array.from({ length: connections }, (_, index) => sendMany(index)))
    tally.seconds = (performance.now() - begun) / 1000
    expect(control.child.exitCode ?? control.child.signalCode, 'control has ended').toBeNull()
    if (tally.seconds > 60)
      expect(
        slow.filter((socket) => !socket.closed),
        'requests that never end',
      ).toEqual([])
    for (const socket of slow) socket.destroy()
    await expect.poll(() => useOf(pid).descriptors, { timeout: 10_000, message: 'open files' }).toBeLessThanOrEqual(before.descriptors + 2) // prettier-ignore
    tally.kilobytes.after = useOf(pid).kilobytes
    expect(tally.kilobytes.after - tally.kilobytes.before, 'kilobytes that memory has grown by').toBeLessThan(
      growthLimit,
    )
    await expectHealthy(client)
    await client.close()
    return tally
  } finally {
    await control.end('SIGKILL')
  }

  async function sendMany(index: number): Promise<void> {
    const exchange = new HttpExchange(socketPath)
    const requests = new MalformedRequests(random.fork(index), testTokens.admin)
    const share = Math.ceil(count / connections)
    for (let sent = 0; sent < share; sent++) {
      const { bytes, isHead, isEndless } = requests.next()
      const answer = await exchange.send(bytes, { isHead, isEndless })
      const why = !answer && isEndless ? undefined : whyMalformed(answer, isHead)
      if (why) throw new Error(`${why}: ${JSON.stringify(answer)?.slice(0, 500)} to ${JSON.stringify(bytes.toString('latin1').slice(0, 1000))}`) // prettier-ignore
      const code = answer?.code ?? 'none'
      tally.codes[code] = (tally.codes[code] ?? 0) + 1
      if (index === 0 && sent === Math.floor(share / 10)) tally.kilobytes.before = useOf(pid).kilobytes
    }
    tally.connections += exchange.connections
    exchange.close()
  }
}

/** Undefined when the answer is one that a client can read. */
function whyMalformed(answer: RawAnswer | undefined, isHead: boolean): string | undefined {
  if (!answer) return 'no answer'
  const { code, body, headers } = answer
  if (code === 500) return 'an internal error'
  if (isHead) return undefined
  if (code === 200 && !headers['content-type']?.includes('json')) return undefined // metrics, health
  let parsed: { kind?: string; code?: number; message?: string; reason?: string }
  try {
    parsed = JSON.parse(body) as typeof parsed
  } catch {
    return 'the body is not JSON'
  }
  if (code < 400) return undefined
  const isStatus = parsed.kind === 'Status' && parsed.code === code && !!parsed.message && !!parsed.reason
  return isStatus ? undefined : 'the error is no Status'
}

/** Requests that never end, all the while. */
async function openSlowRequests(socketPath: string): Promise<ReturnType<typeof connect>[]> {
  const sockets = Array.from({ length: 20 }, () => connect(socketPath))
  for (const [index, socket] of sockets.entries()) {
    socket.on('error', () => {}).resume()
    await once(socket, 'connect')
    const head = `POST /apis/carbonado.io/v1alpha1/perftiers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${testTokens.admin}\r\n`
    socket.write(index % 2 ? head : `${head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"metadata":`)
  }
  return sockets
}

async function expectHealthy(client: { create: ReturnType<Awaited<ReturnType<typeof startControlProcess>>['client']>['create'] }): Promise<void> {
  const tier = await client.create(PerfTier, { metadata: { name: 'afterwards' }, spec: { storageIops: 1 } })
  expect(JSON.stringify(tier)).not.toContain('polluted')
  expect(tier.spec).toEqual({ storageIops: 1 })
} // prettier-ignore
