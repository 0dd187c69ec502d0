import { chai, JestAsymmetricMatchers, JestChaiExpect, JestExtend } from '@vitest/expect'
import { closeSync, openSync, writeSync } from 'node:fs'
import { format } from 'node:util'
import type { TestResult } from './results.ts'

/**
 * What a test file sees as `vitest` inside the guest, where vitest itself would take longer to start than the tests to
 * run: the part of its interface that guest tests use, with results written to the second serial line.
 */
chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)
export const expect = chai.expect

type Body = () => unknown
interface Suite {
  names: string[]
  before: Body[]
  after: Body[]
  beforeEach: Body[]
  afterEach: Body[]
  parts: (Suite | { name: string; body: Body; timeout: number })[]
}

const defaultTimeout = 300_000
const newSuite = (names: string[]): Suite => ({
  names,
  before: [],
  after: [],
  beforeEach: [],
  afterEach: [],
  parts: [],
})
const root = newSuite([])
let current = root

/** A named group of tests; registered at once, run later. */
export function describe(name: string, register: () => void): void {
  const parent = current
  current = newSuite([...parent.names, name])
  parent.parts.push(current)
  register()
  current = parent
}

/** A test, with vitest's `{ timeout }` before or after its body. */
export function it(name: string, ...rest: ({ timeout?: number } | number | Body)[]): void {
  const body = rest.find((each) => typeof each === 'function') as Body
  const options = rest.find((each) => typeof each !== 'function') as { timeout?: number } | number | undefined
  const timeout = (typeof options === 'number' ? options : options?.timeout) ?? defaultTimeout
  current.parts.push({ name, body, timeout })
}

/** A test for each row, as vitest has it. */
it.each = (rows: readonly unknown[]) => (name: string, body: (...row: never[]) => unknown, timeout?: number) => {
  for (const row of rows) {
    const values = Array.isArray(row) ? row : [row]
    const named = format(name, ...values).split(' ').slice(0, name.split(' ').length).join(' ') // prettier-ignore
    it(named, () => body(...(values as never[])), timeout ?? defaultTimeout)
  }
}

export const test = it
export const beforeAll = (body: Body): void => void current.before.push(body)
export const afterAll = (body: Body): void => void current.after.unshift(body)
export const beforeEach = (body: Body): void => void current.beforeEach.push(body)
export const afterEach = (body: Body): void => void current.afterEach.unshift(body)

const file = process.env.GUEST_FILE ?? 'unnamed'
const line = process.env.GUEST_FILE === undefined ? 1 : openSync('/dev/ttyS1', 'w')

function report(result: Omit<TestResult, 'file'>): void {
  console.log(`guest: ${result.error === undefined ? 'pass' : 'FAIL'} ${result.name} (${result.milliseconds} ms)`)
  if (result.error !== undefined) console.log(result.error)
  writeSync(line, `${JSON.stringify({ file, ...result })}\n`)
}

/** What a body threw, with its stack, or that it took too long. */
async function failure(bodies: Body[], timeout: number): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${timeout} ms`)), timeout)
  })
  const run = async (): Promise<void> => {
    for (const body of bodies) await body()
  }
  try {
    await Promise.race([run(), late])
    return undefined
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } finally {
    clearTimeout(timer)
  }
}

async function runSuite(suite: Suite, outer: { before: Body[]; after: Body[]; isReady: boolean }): Promise<void> {
  const name = (own: string): string => [...suite.names, own].join(' > ')
  const around = { before: [...outer.before, ...suite.beforeEach], after: [...suite.afterEach, ...outer.after] }
  const hooks = async (what: string, bodies: Body[]): Promise<boolean> => {
    const begun = Date.now()
    const error = await failure(bodies, 2 * defaultTimeout)
    if (error !== undefined) report({ name: name(what), milliseconds: Date.now() - begun, error })
    return error === undefined
  }
  const isReady = outer.isReady && (await hooks('beforeAll', suite.before))
  for (const part of suite.parts) {
    if (!('body' in part)) await runSuite(part, { ...around, isReady })
    else if (isReady) await runTest(name(part.name), part, around)
    else report({ name: name(part.name), milliseconds: 0, error: 'beforeAll failed' })
  }
  if (outer.isReady) await hooks('afterAll', suite.after)
}

async function runTest(
  name: string,
  { body, timeout }: { body: Body; timeout: number },
  around: { before: Body[]; after: Body[] },
): Promise<void> {
  const begun = Date.now()
  const error = await failure([...around.before, body], timeout)
  const cleanUp = await failure(around.after, timeout)
  report({ name, milliseconds: Date.now() - begun, error: error ?? cleanUp })
}

// Bodies register while the file is being loaded, so this runs when that is done.
setImmediate(() => {
  void runSuite(root, { before: [], after: [], isReady: true }).then(() => {
    if (line !== 1) closeSync(line)
    process.exit(0)
  })
})
