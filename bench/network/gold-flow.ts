import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Unavailable } from '../../src/base/index.ts'
import type { Arrivals, Demand } from './floor-windows.ts'
import { endTool, startTool } from './processes.ts'
import type { Attachment } from './runtime.ts'

/** Milliseconds that gold sends, and is idle. */
const phase = 5000
const sinkPort = '5300'

/**
 * L2 bytes of a full frame, as floors are counted, for its bytes of payload: MTU 1496, Ethernet 14; IPv4 20 and TCP with
 * timestamps 32 are in the MTU.
 */
const frameBytes = (1496 + 14) / (1496 - 20 - 32)

/** Bytes of TCP payload per second that full frames carry at a floor in bits per second. */
export function payloadOf(floor: number): number {
  return floor / 8 / frameBytes
}

/** Lets gold send to a sink and be idle by turns, so many times; returns when it sent, and what arrived when. */
export async function runGold(
  gold: Attachment,
  sink: Attachment,
  cycles: number,
  progress: (text: string) => void,
): Promise<{ arrivals: Arrivals; demands: Demand[] }> {
  const receiver = startProgram(sink, 'gold-sink.ts', [sinkPort])
  const sender = await receiver.line().then(() => {
    const args = [sink.address, sinkPort, String(phase), String(phase), String(cycles)]
    return startProgram(gold, 'gold-sender.ts', args)
  })
  try {
    const demands: Demand[] = []
    for (let cycle = 0; cycle < cycles; cycle++) {
      demands.push(JSON.parse(await sender.line()) as Demand)
      progress(`  gold on and off, ${cycle + 1} of ${cycles}`)
    }
    await sleep(phase)
    receiver.child.stdin!.end()
    return { arrivals: JSON.parse(await receiver.line()) as Arrivals, demands }
  } finally {
    await Promise.all([endTool(sender.child), endTool(receiver.child)])
  }
}

interface Program {
  child: ChildProcess
  /** The next line that it prints. Throws Unavailable when it ends before. */
  line(): Promise<string>
}

/** Ahead of the neighbours' tools in the queue for processors: those are not what a floor promises. */
function startProgram(place: Attachment, file: string, args: string[]): Program {
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url))
  const child = startTool({ netns: place.netns }, ['nice', '--adjustment=-10', process.execPath, path, ...args])
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    child,
    async line() {
      const { value, done } = await lines.next()
      if (done === true) throw new Unavailable(`${file} ended before it was done`)
      return value
    },
  }
}
