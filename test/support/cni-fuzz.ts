import { connect } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { AddressClaim, Endpoint } from '../../src/api/index.ts'
import { AgentProcess } from './agent-process.ts'
import { makeControlFiles } from './control-files.ts'
import { startControlProcess } from './control-process.ts'
import { MalformedCalls, type MalformedCall } from './malformed-cni-calls.ts'
import { makeNode } from './one-node.ts'
import { enterOwnNamespaces, run } from './own-namespaces.ts'
import { useOf } from './process-use.ts'
import { seededRandom } from './random.ts'

const connections = 24
/** Kilobytes that the agent's memory may grow by after the first tenth: garbage that is not collected yet. */
const growthLimit = 100_000

/** Files that the agent may have more of for a moment: connections to control are kept for a minute. A leak has more. */
const settled = { most: 10, patience: 100_000 }
const unsettled = { most: 60, patience: 10_000 }

/** What was answered. */
export interface CniFuzzTally {
  codes: Record<string, number>
  seconds: number
  kilobytes: { before: number; after: number }
}

/**
 * Sends `count` malformed calls to an agent's CNI socket. Each must get an answer by the CNI specification. Afterwards the
 * same agent attaches and detaches a container, without more memory, open files, interfaces or objects than before;
 * `untilSettled` waits until it has closed connections that it keeps for a while, and then allows fewer files.
 */
export async function fuzzCni(count: number, { untilSettled = false } = {}): Promise<CniFuzzTally> {
  const random = seededRandom()
  console.log(`${count} CNI calls: CARBONADO_SEED=${random.seed}`)
  enterOwnNamespaces()
  makeNode()
  using files = await makeControlFiles()
  const control = await startControlProcess(files)
  const agent = new AgentProcess(files)
  const client = control.client()
  const tally: CniFuzzTally = { codes: {}, seconds: 0, kilobytes: { before: 0, after: 0 } }
  try {
    await agent.start({ isQuiet: true })
    const pid = agent.pid
    const before = { use: useOf(pid), links: run('ip', '-o', 'link').split('\n').length }
    const begun = performance.now()
    await Promise.all(Array.from({ length: connections }, (_, index) => sendMany(index, pid)))
    tally.seconds = (performance.now() - begun) / 1000
    expect(agent.isRunning, 'the agent has ended').toBe(true)
    const { most, patience } = untilSettled ? settled : unsettled
    await expect
      .poll(() => useOf(pid).descriptors, { timeout: patience, interval: 500, message: 'open files' })
      .toBeLessThanOrEqual(before.use.descriptors + most)
    tally.kilobytes.after = useOf(pid).kilobytes
    expect(tally.kilobytes.after - tally.kilobytes.before, 'kilobytes that memory has grown by').toBeLessThan(
      growthLimit,
    )
    expect(run('ip', '-o', 'link').split('\n').length, 'interfaces').toBe(before.links)
    for (const kind of [Endpoint, AddressClaim]) {
      await expect
        .poll(() => client.list<Endpoint | AddressClaim>(kind as never).then(({ items }) => items))
        .toEqual([])
    }
    await expectWorking(agent)
    return tally
  } finally {
    await agent.end('SIGKILL')
    await client.close()
    await control.end('SIGKILL')
  }

  async function expectWorking(running: AgentProcess): Promise<void> {
    const { createNetwork } = await import('../../src/network/controllers/control-fixture.ts')
    await createNetwork(client, 'blue', { vlan: undefined, isDefault: true })
    run('ip', 'netns', 'add', 'fine')
    expect(await running.call('ADD', 'fine')).toMatchObject({ exitCode: 0 })
    expect(await running.call('DEL', 'fine')).toMatchObject({ exitCode: 0 })
  }

  async function sendMany(index: number, pid: number): Promise<void> {
    const calls = new MalformedCalls(random.fork(index))
    const share = Math.ceil(count / connections)
    for (let sent = 0; sent < share; sent++) {
      const call = calls.next()
      const answer = await exchange(join(files.folder, 'cni.sock'), call)
      const code = codeOf(answer, call.isEndless)
      if (code === undefined) throw new Error(`a malformed answer: ${JSON.stringify(answer.toString().slice(0, 500))} to ${JSON.stringify(call.bytes.toString('latin1').slice(0, 1500))}`) // prettier-ignore
      tally.codes[code] = (tally.codes[code] ?? 0) + 1
      if (index === 0 && sent === Math.floor(share / 10)) tally.kilobytes.before = useOf(pid).kilobytes
    }
  }
}

/** The CNI code of an answer; undefined when it is none by the specification. */
function codeOf(answer: Buffer, isEndless: boolean): string | undefined {
  if (answer.length === 0) return isEndless ? 'none' : undefined
  const [exitCode, text] = [answer[0], answer.subarray(1).toString()]
  if (exitCode === 0) return text === '' || isObject(text) ? 'success' : undefined
  if (exitCode !== 1 || !isObject(text)) return undefined
  const { code, msg, cniVersion } = JSON.parse(text) as { code?: number; msg?: string; cniVersion?: string }
  const isError = Number.isInteger(code) && code !== 100 && !!msg && !!cniVersion
  return isError ? String(code) : undefined
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}

function exchange(path: string, { bytes, isEndless }: MalformedCall): Promise<Buffer> {
  return new Promise((resolve) => {
    const received: Buffer[] = []
    const socket = connect(path)
    socket.on('data', (part: Buffer) => received.push(part))
    socket.on('error', () => {})
    socket.on('close', () => resolve(Buffer.concat(received)))
    if (isEndless) socket.end(bytes)
    else socket.write(bytes)
  })
}
