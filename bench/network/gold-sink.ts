// Takes what comes over TCP and notes how many bytes came in each millisecond of the machine's monotonic clock.
//   gold-sink.ts PORT
// Prints a line when it listens, and at the end of its standard input everything as JSON: [[millisecond, bytes], ...]
import { createServer } from 'node:net'
import { monotonic } from './monotonic.ts'

const arrivals: [number, number][] = []

const server = createServer((socket) => {
  socket.on('data', (part) => note(part.length))
  socket.on('error', () => {}) // the sender resets the connection at the end of its time
})
server.listen(Number(process.argv[2]), () => process.stdout.write('listening\n'))
process.stdin.resume()
process.stdin.on('end', () => {
  process.stdout.write(`${JSON.stringify(arrivals)}\n`, () => process.exit())
})

function note(bytes: number): void {
  const millisecond = Math.floor(monotonic())
  const last = arrivals.at(-1)
  if (last?.[0] === millisecond) last[1] += bytes
  else arrivals.push([millisecond, bytes])
}
