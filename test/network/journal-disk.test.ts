import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Endpoint } from '../../src/api/index.ts'
import { createNetwork } from '../../src/network/controllers/control-fixture.ts'
import type { RestStore } from '../../src/store/index.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { makeControlFiles, type ControlFiles } from '../support/control-files.ts'
import { startControlProcess, type ControlProcess } from '../support/control-process.ts'
import { LoopFilesystem } from '../support/loop-filesystem.ts'
import { makeNode } from '../support/one-node.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

let files: ControlFiles
let disk: LoopFilesystem
let control: ControlProcess
let client: RestStore
let agent: AgentProcess

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  files = await makeControlFiles()
  disk = new LoopFilesystem({ path: join(files.folder, 'agent-state') })
  control = await startControlProcess(files)
  client = control.client()
  await createNetwork(client, 'blue', { vlan: undefined, isDefault: true })
  agent = new AgentProcess(files)
  await agent.start()
})
afterAll(async () => {
  await agent.end('SIGKILL')
  await client.close()
  await control.end('SIGKILL')
  disk[Symbol.dispose]()
  files[Symbol.dispose]()
})

const holders = async (): Promise<string[]> =>
  (await client.list(Endpoint)).items.map(({ spec }) => spec.holder?.containerId ?? 'none').sort()

/** What CHECK needs beside the names. */
const results = new Map<string, unknown>()

async function add(container: string): Promise<number | null> {
  run('ip', 'netns', 'add', container)
  const { exitCode, output } = await agent.call('ADD', container)
  results.set(container, output)
  return exitCode
}

const check = async (container: string): Promise<number | null> =>
  (await agent.call('CHECK', container, { prevResult: results.get(container) })).exitCode

it('a full disk under the journal refuses ADD and DEL and says why, touches nothing, and is over when there is space', async () => {
  expect(await add('kept')).toBe(0)
  disk.fill()
  const attached = ['kept']
  let refused: string | undefined
  for (let number = 1; !refused; number++) {
    if ((await add(`more${number}`)) === 0) attached.push(`more${number}`)
    else refused = `more${number}`
  }
  expect(results.get(refused)).toMatchObject({ code: 11, msg: expect.stringContaining('journal') as string, details: expect.stringContaining('space') as string }) // prettier-ignore
  expect((await agent.call('DEL', 'kept')).output).toMatchObject({ code: 11 })
  expect(await check('kept')).toBe(0)
  disk.makeSpace()
  expect((await agent.call('ADD', refused)).exitCode).toBe(0)
  expect((await agent.call('DEL', 'kept')).exitCode).toBe(0)
  await expect.poll(holders, { timeout: 10_000 }).toEqual([...attached.slice(1), refused].sort())
  for (const container of attached.slice(1)) expect((await agent.call('DEL', container)).exitCode).toBe(0)
  await expect.poll(holders, { timeout: 10_000 }).toEqual([refused])
  expect((await agent.call('DEL', refused)).exitCode).toBe(0)
  await expect.poll(holders, { timeout: 10_000 }).toEqual([])
})

it('an agent does not start on a read-only disk, says why, and does not touch the journal', async () => {
  await agent.end('SIGTERM')
  const before = readdirSync(disk.path).sort()
  disk.unmount()
  run('mount', '-o', 'loop,ro', disk.image, disk.path)
  await expect(agent.start()).rejects.toThrow(/journal cannot be written.*remedy/s)
  expect(readdirSync(disk.path).sort()).toEqual(before)
  disk.unmount()
  disk.mount()
  await agent.start()
})

it.each([
  ['its file', 'SIGTERM', 'journal.db'],
  ['its log', 'SIGKILL', 'journal.db-wal'],
] as const)('a journal with a damaged byte in %s costs no container its interface', async (what, signal, name) => {
  const container = `survives-${signal.toLowerCase()}`
  expect(await add(container)).toBe(0)
  await agent.end(signal)
  const file = join(disk.path, name)
  const bytes = readFileSync(file)
  const at = bytes.indexOf(container)
  expect(at, `${container} is in ${name}`).toBeGreaterThan(0)
  bytes[at + 3]! ^= 1
  writeFileSync(file, bytes)
  await agent.start()
  await expect.poll(() => check(container), { timeout: 10_000 }).toBe(0)
  expect(await holders()).toEqual([container])
  if (what === 'its file') expect(readdirSync(disk.path).some((entry) => entry.includes('damaged'))).toBe(true)
  expect((await agent.call('DEL', container)).exitCode).toBe(0)
  await expect.poll(holders, { timeout: 10_000 }).toEqual([])
  expect(existsSync(file.replace('-wal', ''))).toBe(true)
})
