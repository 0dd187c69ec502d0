import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A way to a server for tests; what a network does that loses everything without a word can be done to it. */
export interface SilentWire {
  /** The port of the near end on the loopback interface. */
  port: number
  /** From now on nothing comes through; connections stay as they are. */
  cut(): void
  /** Ends all connections and takes no more. */
  close(): void
}

/** Opens a way to the server that listens on the port `to` of the loopback interface. */
export async function openSilentWire(to: number): Promise<SilentWire> {
  const ends: Socket[] = []
  const wire = createServer((near) => {
    const far = connect(to, '127.0.0.1')
    for (const end of [near, far]) ends.push(end.on('error', () => {}))
    near.pipe(far)
    far.pipe(near)
  }).listen(0, '127.0.0.1')
  await once(wire, 'listening')
  return {
    port: (wire.address() as AddressInfo).port,
    cut: () => ends.forEach((end) => void end.unpipe().pause()),
    close() {
      for (const end of ends) end.destroy()
      wire.close()
    },
  }
}
