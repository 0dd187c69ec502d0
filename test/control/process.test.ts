import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PerfTier } from '../../src/api/index.ts'
import { createInformer, type RestStore } from '../../src/store/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../support/control-files.ts'
import { runControl, startControlProcess, type ControlProcess } from '../support/control-process.ts'

let files: ControlFiles
const started: ControlProcess[] = []

beforeEach(async () => {
  files = await makeControlFiles()
})

afterEach(async () => {
  for (const control of started.splice(0)) await control.end('SIGKILL')
  files[Symbol.dispose]()
})

async function start(): Promise<ControlProcess> {
  const control = await startControlProcess(files)
  started.push(control)
  return control
}

const tier = (name: string): PerfTier => ({ metadata: { name }, spec: {} })

/** Creates until a call fails; adds the names whose creation was acknowledged. */
async function createUntilItFails(client: RestStore, prefix: string, acknowledged: Set<string>): Promise<void> {
  for (let index = 0; ; index += 1) {
    const name = `${prefix}-${index}`
    try {
      await client.create(PerfTier, tier(name))
    } catch {
      return
    }
    acknowledged.add(name)
  }
}

test('killed with -9 under writes, again and again, it keeps every acknowledged write and each version once', async () => {
  const acknowledged = new Set<string>()
  const seen = new Map<string, string>()
  let twice = 0
  const follower = (await start()).client()
  const informer = createInformer(follower, PerfTier, { maximumRetryDelay: 50 })
  informer.onChange(({ type, object }) => {
    const version = object.metadata.resourceVersion!
    if (type === 'ADDED' && seen.has(version) && seen.get(version) !== object.metadata.name) twice += 1
    seen.set(version, object.metadata.name)
  })
  await informer.start()
  for (let round = 0; round < 5; round += 1) {
    const control = started.at(-1)!
    const client = control.client()
    const before = acknowledged.size
    const writers = Array.from({ length: 8 }, (_, writer) => createUntilItFails(client, `r${round}-w${writer}`, acknowledged)) // prettier-ignore
    await delay(100 + Math.random() * 300)
    await expect
      .poll(() => acknowledged.size - before, { timeout: 20_000, message: 'writes go on' })
      .toBeGreaterThan(40)
    await control.end('SIGKILL')
    await Promise.all(writers)
    await client.close()
    await start()
  }
  const client = started.at(-1)!.client()
  const stored = new Set((await client.list(PerfTier)).items.map(({ metadata }) => metadata.name))
  expect([...acknowledged].filter((name) => !stored.has(name))).toEqual([])
  await expect.poll(() => informer.items().length).toBe(stored.size)
  expect(twice).toBe(0)
  await informer.stop()
  await Promise.all([client.close(), follower.close()])
})

describe('SIGTERM', () => {
  test('lets running requests finish, ends watches and exits with 0 soon', async () => {
    const control = await start()
    const client = control.client()
    const { resourceVersion } = await client.list(PerfTier)
    let ended = false
    const watching = (async () => {
      for await (const _event of client.watch(PerfTier, { resourceVersion }));
      ended = true
    })()
    const creating = Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => client.create(PerfTier, tier(`t${index}`))),
    )
    await delay(20)
    const ending = control.end('SIGTERM')
    const answers = await creating // which may take long on a busy machine
    const begun = performance.now()
    expect(await ending).toBe(0)
    expect(performance.now() - begun).toBeLessThan(3_000)
    await watching
    expect(ended).toBe(true)
    const created = answers.filter(({ status }) => status === 'fulfilled').length
    await client.close()
    const again = (await start()).client()
    const { items } = await again.list(PerfTier)
    expect(items.filter(({ metadata }) => metadata.name.startsWith('t')).length).toBeGreaterThanOrEqual(created)
    await again.close()
  })

  test('is not held up by clients that keep connections open or never finish a request', async () => {
    const control = await start()
    const client = control.client()
    await client.list(PerfTier)
    const { connect } = await import('node:net')
    const slow = connect(join(files.folder, 'control.sock'))
    slow.on('error', () => {}).write('POST /apis HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf')
    await delay(50)
    const begun = performance.now()
    expect(await control.end('SIGTERM')).toBe(0)
    expect(performance.now() - begun).toBeLessThan(8_000)
    slow.destroy()
    await client.close()
  })
})

test('SIGHUP takes new tokens into force, and wrong ones not', async () => {
  const control = await start()
  const client = control.client()
  writeFileSync(files.config.tokensFile, 'not json')
  control.child.kill('SIGHUP')
  await delay(100)
  await client.list(PerfTier)
  writeFileSync(files.config.tokensFile, JSON.stringify([{ token: 'another-token-0123456', user: 'x', role: 'admin' }]))
  control.child.kill('SIGHUP')
  const refused = (): Promise<unknown> =>
    client.list(PerfTier).then(
      () => 'served',
      (error: { code?: string }) => error.code,
    )
  await expect.poll(refused).toBe('Forbidden')
  await client.close()
})

test('a second control on the same folder does not start and does no harm', async () => {
  const control = await start()
  const { code, said } = await runControl(files)
  expect(code).toBe(1)
  expect(said).toMatch(/in use by another process/)
  const client = control.client()
  await client.list(PerfTier)
  await client.close()
})

test('backup and restore work from the command line', async () => {
  const control = await start()
  const client = control.client()
  await client.create(PerfTier, tier('kept'))
  const copy = join(files.folder, 'copy.db')
  expect(await runControl(files, 'backup', copy)).toMatchObject({ code: 0 })
  await client.create(PerfTier, tier('lost'))
  const refused = await runControl(files, 'restore', copy)
  expect(refused).toMatchObject({ code: 1, said: expect.stringMatching(/^control: .*in use.*\n {2}\S.*\n$/) as string })
  await client.close()
  await control.end('SIGTERM')
  const { code, said } = await runControl(files, 'restore', copy)
  expect(code).toBe(0)
  expect(existsSync(/kept as (.*)\n/.exec(said)![1]!)).toBe(true)
  const again = (await start()).client()
  const names = (await again.list(PerfTier)).items.map(({ metadata }) => metadata.name)
  expect(names).toContain('kept')
  expect(names).not.toContain('lost')
  await again.close()
})

test.each([
  ['an unknown key', { dataDir: 'x' }, /dataDir/],
  ['a tokens file that is missing', { tokensFile: '/nonexistent' }, /nonexistent/],
  ['a certificate that is missing', { tls: { certificateFile: '/nonexistent', keyFile: '/x' } }, /nonexistent/],
])('%s ends it with a clear message', async (_what, change, message) => {
  const settings = { ...files.config, ...change }
  writeFileSync(files.configFile, JSON.stringify(settings))
  const { code, said } = await runControl(files)
  expect(code).toBe(1)
  expect(said).toMatch(message)
  expect(said).not.toContain(testTokens.admin)
})
