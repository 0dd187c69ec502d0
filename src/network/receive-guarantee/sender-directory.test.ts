import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { NotFound, silentLogger, Unavailable } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { SenderDirectory } from './sender-directory.ts'
import { SenderMemory } from './sender-memory.ts'

const silent = silentLogger()

/** A store with one endpoint, whose node can be changed, and which can go away. */
function makeStore(): {
  store: Pick<ResourceStore, 'get'>
  state: { node: string; address: string; isAway: boolean; asked: number }
} {
  const state = { node: 'n2', address: '10.0.0.2:7444', isAway: false, asked: 0 }
  const get = async ({ kind }: { kind: string }, { name }: { name: string }): Promise<unknown> => {
    state.asked++
    if (state.isAway) throw new Unavailable('away')
    if (kind === 'MacClaim' && name === 'pods-100.020000000001') {
      return { spec: { endpoint: { namespace: 'default', name: 'one', uid: 'u' } } }
    }
    if (kind === 'Endpoint' && name === 'one') return { spec: { nodeName: state.node } }
    if (kind === 'Node') return { status: { agent: { address: state.address } } }
    throw new NotFound(name)
  }
  return { store: { get } as unknown as Pick<ResourceStore, 'get'>, state }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await turn()
}

test('learns where a source is, keeps it while control is away, and notices a move', async () => {
  const { store, state } = makeStore()
  let now = 0
  const directory = new SenderDirectory(store, () => now)
  const placeOf = (): unknown => directory.placeOf('02:00:00:00:00:01', 100)
  expect(placeOf()).toBe('unknown')
  expect(placeOf()).toBe('unknown')
  await settle()
  expect(placeOf()).toEqual({ node: 'n2' })
  expect(state.asked).toBe(2)
  now = 31_000
  state.isAway = true
  expect(placeOf()).toEqual({ node: 'n2' })
  await settle()
  expect(placeOf()).toEqual({ node: 'n2' })
  now = 33_000
  state.isAway = false
  state.node = 'n3'
  placeOf()
  await settle()
  expect(placeOf()).toEqual({ node: 'n3' })
})

test('a source that nobody has claimed is outside', async () => {
  const { store } = makeStore()
  const directory = new SenderDirectory(store, () => 0)
  directory.placeOf('02:00:00:00:00:09', 100)
  await settle()
  expect(directory.placeOf('02:00:00:00:00:09', 100)).toBe('outside')
})

test('addresses of agents are remembered; one that is in doubt serves until control has told another', async () => {
  const { store, state } = makeStore()
  const directory = new SenderDirectory(store, () => 0)
  expect(await directory.addressOf('n2')).toBe('10.0.0.2:7444')
  state.isAway = true
  await expect(directory.addressOf('n3')).rejects.toMatchObject({ code: 'Unavailable' })
  directory.doubtAddress('n2')
  expect(await directory.addressOf('n2')).toBe('10.0.0.2:7444')
  await settle()
  state.isAway = false
  state.address = '10.0.0.9:7444'
  expect(await directory.addressOf('n2')).toBe('10.0.0.2:7444')
  await settle()
  expect(await directory.addressOf('n2')).toBe('10.0.0.9:7444')
})

test('the next agent knows what this one knew, without control, and asks anew when control is there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-senders-'))
  const file = join(folder, 'senders.json')
  try {
    const { store, state } = makeStore()
    const memory = new SenderMemory(file, silent)
    const first = new SenderDirectory(store, () => 0, memory)
    first.placeOf('02:00:00:00:00:01', 100)
    await first.addressOf('n2')
    await expect.poll(() => existsSync(file)).toBe(true)
    await memory.stop()

    state.isAway = true
    const second = new SenderDirectory(store, () => 0, new SenderMemory(file, silent))
    expect(second.placeOf('02:00:00:00:00:01', 100)).toEqual({ node: 'n2' })
    expect(await second.addressOf('n2')).toBe('10.0.0.2:7444')

    Object.assign(state, { isAway: false, node: 'n3', address: '10.0.0.9:7444' })
    const third = new SenderDirectory(store, () => 0, new SenderMemory(file, silent))
    third.placeOf('02:00:00:00:00:01', 100)
    await third.addressOf('n2')
    await settle()
    expect(third.placeOf('02:00:00:00:00:01', 100)).toEqual({ node: 'n3' })
    expect(await third.addressOf('n2')).toBe('10.0.0.9:7444')

    writeFileSync(file, '{"places": [1], "addresses": {"n2": 7}')
    const fourth = new SenderDirectory(store, () => 0, new SenderMemory(file, silent))
    expect(fourth.placeOf('02:00:00:00:00:01', 100)).toBe('unknown')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('sources that turn up together are each asked for once', async () => {
  const asked: string[] = []
  const store = {
    async get(_kind: unknown, { name }: { name: string }): Promise<never> {
      asked.push(name)
      await turn()
      throw new NotFound(name)
    },
  } as unknown as Pick<ResourceStore, 'get'>
  const directory = new SenderDirectory(store, () => 0)
  const macs = Array.from({ length: 20 }, (_, index) => `02:00:00:00:01:${(0x10 + index).toString(16)}`)
  for (const mac of [...macs, ...macs]) directory.placeOf(mac, 100)
  await settle()
  await settle()
  expect(asked).toHaveLength(20)
  expect(macs.map((mac) => directory.placeOf(mac, 100))).toEqual(macs.map(() => 'outside'))
})

// last: its lookups go on in the background
test('many sources at once are asked for a few at a time, and the memory of them is bounded', async () => {
  const { store, state } = makeStore()
  const directory = new SenderDirectory(store, () => 0)
  for (let i = 0; i < 30_000; i++)
    directory.placeOf(`02:00:00:00:${(i >> 8).toString(16)}:${(i & 255).toString(16)}`, 1)
  expect(state.asked).toBe(8)
})
