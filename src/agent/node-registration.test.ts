import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { apiVersionOf, Node } from '../api/index.ts'
import { silentLogger, Unavailable, type Logger } from '../base/index.ts'
import { EmbeddedStore, type ResourceStore } from '../store/index.ts'
import { eventually } from '../network/attachments/test-node.ts'
import { NodeRegistration, type NodeRegistrationOptions } from './node-registration.ts'

const spec: Node['spec'] = { uplinks: { pods: { interface: 'eth0', rate: '10G' } }, maximumInterfaces: 10 }
const report = { address: '10.0.0.1:7443', version: '1', linkRate: 10e9, mtu: 1500, carrier: true, problems: [] }

let directory: string
let store: EmbeddedStore
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'carbonado-registration-'))
  store = new EmbeddedStore({ file: join(directory, 'store.db') })
})
afterEach(async () => {
  await store.close()
  rmSync(directory, { recursive: true, force: true })
})

function registration(overrides: Partial<NodeRegistrationOptions> = {}): NodeRegistration {
  return new NodeRegistration({
    store,
    nodeName: 'n1',
    spec,
    specFile: join(directory, 'node.json'),
    report: () => report,
    logger: silentLogger(),
    interval: 10,
    ...overrides,
  })
}

const away = new Proxy({} as ResourceStore, { get: () => () => Promise.reject(new Unavailable('away')) })
const hanging = new Proxy({} as ResourceStore, { get: () => () => new Promise(() => {}) })
const node = (): Promise<Node> => store.get(Node, { name: 'n1' })

describe('the registration of a node', () => {
  test('makes the Node and reports', async () => {
    const part = registration()
    expect(await part.learnSpec()).toEqual(spec)
    part.start()
    await eventually(async () => (await node()).status?.agent !== undefined)
    const first = (await node()).status!.agent!
    expect(first).toMatchObject(report)
    await eventually(async () => (await node()).status!.agent!.heartbeat > first.heartbeat)
    await part.stop()
  })

  test('does not wait long for control that hangs when it knows what it is', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    let learned: unknown
    void registration({ store: hanging })
      .learnSpec()
      .then((spec) => (learned = spec))
    await vi.advanceTimersByTimeAsync(2_999)
    expect(learned).toEqual(spec)
  })

  test('leaves a Node alone that its administrator made, and sees its changes', async () => {
    const own = { ...spec, zone: 'a' }
    await store.create(Node, { apiVersion: apiVersionOf(Node), kind: 'Node', metadata: { name: 'n1' }, spec: own })
    const seen: (string | undefined)[] = []
    const part = registration({ onSpecChange: ({ zone }) => seen.push(zone) })
    expect(await part.learnSpec()).toEqual(own)
    part.start()
    await store.patch(Node, { name: 'n1' }, { spec: { zone: 'b' } })
    await eventually(() => seen.length === 1)
    expect(seen).toEqual(['b'])
    await part.stop()
  })

  test('makes the Node again when it was deleted', async () => {
    const part = registration()
    await part.learnSpec()
    part.start()
    await store.delete(Node, { name: 'n1' })
    await eventually(() =>
      node()
        .then(({ status }) => status?.agent !== undefined)
        .catch(() => false),
    )
    await part.stop()
  })

  test('goes on with what it knew while control is away', async () => {
    await expect(registration({ store: away, spec: undefined }).learnSpec()).rejects.toMatchObject({
      code: 'Unavailable',
    })
    expect(await registration({ store: away }).learnSpec()).toEqual(spec)
    await store.create(Node, {
      apiVersion: apiVersionOf(Node),
      kind: 'Node',
      metadata: { name: 'n1' },
      spec: { ...spec, zone: 'remembered' },
    })
    await registration().learnSpec()
    expect((await registration({ store: away }).learnSpec()).zone).toBe('remembered')
  })

  test('follows its spec while the file for it cannot be written, and writes it once it can', async () => {
    const inTheWay = join(directory, 'state')
    writeFileSync(inTheWay, '')
    const specFile = join(inTheWay, 'node.json')
    const own = { ...spec, zone: 'a' }
    await store.create(Node, { apiVersion: apiVersionOf(Node), kind: 'Node', metadata: { name: 'n1' }, spec: own })
    const seen: (string | undefined)[] = []
    const lines: string[] = []
    const note = (_about: object, message: string): void => void lines.push(message)
    const logger = { ...silentLogger(), warn: note } as Logger
    const part = registration({ specFile, logger, onSpecChange: ({ zone }) => seen.push(zone) })
    expect(await part.learnSpec()).toEqual(own)
    part.start()
    await store.patch(Node, { name: 'n1' }, { spec: { zone: 'b' } })
    await eventually(() => seen.length === 1)
    expect(seen).toEqual(['b'])
    rmSync(inTheWay)
    const written = (): Node['spec'] => JSON.parse(readFileSync(specFile, 'utf8')) as Node['spec']
    await expect.poll(written).toEqual({ ...spec, zone: 'b' })
    expect(lines).toEqual(['the spec of this node cannot be remembered for the next start'])
    await part.stop()
  })

  test('needs somebody to say what the node is', async () => {
    await expect(registration({ spec: undefined }).learnSpec()).rejects.toMatchObject({ code: 'NotFound' })
  })
})
