// Sends over TCP as fast as it can for ON milliseconds, over a new connection, then nothing for OFF milliseconds; and again.
//   gold-sender.ts ADDRESS PORT ON OFF CYCLES
// Prints for each time it sends: {"begin": ..., "end": ...}, milliseconds of the machine's monotonic clock.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { monotonic } from './monotonic.ts'

const [address, port, on, off, cycles] = process.argv.slice(2) as [string, ...string[]]
const block = Buffer.alloc(256 * 1024)

for (let cycle = 0; cycle < Number(cycles); cycle++) {
  const begin = monotonic()
  await send(begin + Number(on))
  process.stdout.write(`${JSON.stringify({ begin, end: begin + Number(on) })}\n`)
  await sleep(Number(off))
}

/** Demand begins with the wish to connect, so that the handshake counts too. */
function send(until: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: Number(port) })
    const fill = (): void => {
      while (monotonic() < until) if (!socket.write(block)) return
      socket.destroy()
    }
    socket.on('connect', fill)
    socket.on('drain', fill)
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}
