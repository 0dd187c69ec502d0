import './own-lab.ts'
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { measure } from '../../lab/demo/traffic.ts'
import { enough, FloodedLab, rate } from '../support/flooded-lab.ts'
import { severalAttempts } from '../support/patience.ts'

let place: FloodedLab

/** Half of the link is the part of n3 while it is limited; nearly all of it is what it sends else. */
const limited = 0.65 * rate
const unlimited = 0.85 * rate

beforeAll(async () => {
  place = await FloodedLab.up()
})
afterEach(() => place.calm())
afterAll(() => place.lab.down())

const ends = {
  'kill -9': (node: string) => place.lab.killAgent(node),
  SIGSTOP: (node: string) => Promise.resolve(place.lab.signalAgent(node, 'SIGSTOP')),
}

test.each([
  ['kill -9', 'sending', 'n3'],
  ['SIGSTOP', 'sending', 'n3'],
  ['kill -9', 'receiving', 'n1'],
  ['SIGSTOP', 'receiving', 'n1'],
] as const)('%s of the agent of the %s node: its limits end by themselves about a second later, and are back with it', async (how, _side, node) => {
  for (let attempt = 1; ; attempt++) {
    try {
      await expectLimitsToEnd(how, node)
      break
    } catch (error) {
      if (!(error instanceof SamplesMissing) || attempt === 5) throw error
      await place.calm()
    }
  }
  // in the same flood, which loses more than half of everything on the way to n1
  await expect.poll(() => sentBy('n3', 300), { timeout: 10_000, interval: 200 }).toBeLessThan(limited)
  await expect.poll(() => measure(place.source, place.gold, 5201, 3), severalAttempts).toBeGreaterThan(enough)
}, 600_000) // prettier-ignore

/** Floods, ends the agent of a node and brings it back. Throws SamplesMissing. */
async function expectLimitsToEnd(how: keyof typeof ends, node: string): Promise<void> {
  await place.flood()
  await expect
    .poll(() => sentBy('n3', 1500), { ...severalAttempts, message: 'limits hold while both agents live' })
    .toBeLessThan(limited)
  using sent = await SentBytes.of('n3')
  const died = Date.now()
  await ends[how](node)
  try {
    await expect
      .poll(() => sent.timeOfRate(unlimited, died + 300), { message: 'n3 sends all it can again' })
      .toBeDefined()
    expect(sent.rate(died, died + 300), 'a limit outlives the moment').toBeLessThan(limited)
    const later = sent.timeOfRate(unlimited, died + 300)! - died
    expect(later).toBeLessThan(2_500)
    console.log(`${how} of ${node}: n3 sends all it can ${Math.round(later)} ms later`)
  } finally {
    if (how === 'SIGSTOP') place.lab.signalAgent(node, 'SIGCONT')
    else await place.lab.startAgent(node)
  }
}

/** Bits per second that leave a node by its uplink, over so many milliseconds. */
async function sentBy(node: string, milliseconds: number): Promise<number> {
  const read = async (): Promise<[number, number]> => {
    const { stdout } = await place.lab.nodeExec(node, ['cat', '/sys/class/net/eth0/statistics/tx_bytes'])
    return [Number(stdout), performance.now()]
  }
  const [before, began] = await read()
  await sleep(milliseconds)
  const [after, ended] = await read()
  return ((after - before) * 8000) / (ended - began)
}

/** What notes the bytes had to wait for a processor: nothing can be said of the limits. */
class SamplesMissing extends Error {}

/**
 * Bytes that have left a node by its uplink, noted there every 20 ms: how long this process has to wait for a processor
 * does not count. Times are milliseconds of the clock.
 */
class SentBytes implements Disposable {
  readonly #sampler: ChildProcess
  readonly #samples: { at: number; bytes: number }[] = []

  private constructor(sampler: ChildProcess) {
    this.#sampler = sampler
    createInterface(sampler.stdout!).on('line', (line) => {
      const [seconds, bytes] = line.split(' ').map(Number)
      this.#samples.push({ at: seconds! * 1000, bytes: bytes! })
    })
  }

  static async of(node: string): Promise<SentBytes> {
    const file = '/sys/class/net/eth0/statistics/tx_bytes'
    const loop = `while read -r bytes <${file}; do echo "$EPOCHREALTIME $bytes" || exit; sleep 0.02; done`
    const sent = new SentBytes(place.lab.nodeSpawn(node, ['bash', '-c', loop]))
    await expect.poll(() => sent.#samples.length).toBeGreaterThan(1)
    return sent
  }

  /** Bits per second between two moments that have been, none of it later. Throws SamplesMissing. */
  rate(from: number, until: number): number {
    const between = this.#samples.filter(({ at }) => at >= from && at <= until)
    const times = [from, ...between.map(({ at }) => at), until]
    const gap = Math.max(...times.slice(1).map((time, i) => time - times[i]!))
    if (gap > 100) throw new SamplesMissing(`nothing was noted for ${Math.round(gap)} ms, so the rate is not known`)
    const [first, last] = [between[0]!, between.at(-1)!]
    return ((last.bytes - first.bytes) * 8000) / (last.at - first.at)
  }

  /** When the rate of a tenth of a second was first so high, after `from`; undefined: not yet. */
  timeOfRate(rate: number, from: number): number | undefined {
    const later = this.#samples.filter(({ at }) => at >= from)
    return later.find(({ at, bytes }) => {
      const before = later.findLast((sample) => sample.at <= at - 100)
      return before && ((bytes - before.bytes) * 8000) / (at - before.at) >= rate
    })?.at
  }

  [Symbol.dispose](): void {
    this.#sampler.kill()
  }
}
