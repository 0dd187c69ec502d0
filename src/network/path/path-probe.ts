import { setTimeout as delay } from 'node:timers/promises'
import { randomInt } from 'node:crypto'
import { PacketSocket } from './packet-socket.ts'
import { echoRequest, neighbourRequest, parseAnswer, type ProbeAnswer } from './probe-frames.ts'

/** Where to probe from and to. */
export interface ProbeRequest {
  netns: string
  interfaceIndex: number
  /** As the interface has it now, so that what the container really sends is what is tried. */
  macAddress: string
  source: string
  /** The receiver, or the gateway on the way to it. */
  nextHop: string
  target: string
}

/** Tries of each question, and milliseconds that each waits for its answer. */
const tries = 3
const patience = 300
const look = 5

/**
 * Sends real frames out of a container's interface, as its own kernel would: who has the next hop, then an echo request
 * to the receiver. They meet everything that the container's frames meet. Takes two seconds at most. Throws NotFound or
 * Internal when the interface is gone.
 */
export async function probePath(request: ProbeRequest): Promise<{ nextHopMac?: string; echoAfter?: number }> {
  const { source: address, macAddress, nextHop, target } = request
  const sender = { macAddress, address }
  using socket = new PacketSocket(request.netns, request.interfaceIndex)
  const found = await ask(socket, neighbourRequest(sender, nextHop), (answer) =>
    answer.kind === 'neighbour' && answer.address === nextHop ? answer.macAddress : undefined,
  )
  if (found === undefined) return {}
  const identifier = randomInt(1, 0xffff)
  const frame = echoRequest(sender, { macAddress: found.value, address: target }, identifier)
  const echo = await ask(socket, frame, (answer) =>
    answer.kind === 'echo' && answer.identifier === identifier ? true : undefined,
  )
  return { nextHopMac: found.value, ...(echo ? { echoAfter: echo.after } : {}) }
}

async function ask<T>(
  socket: PacketSocket,
  frame: Buffer,
  accept: (answer: ProbeAnswer) => T | undefined,
): Promise<{ value: T; after: number } | undefined> {
  for (let attempt = 1; attempt <= tries; attempt++) {
    const sent = performance.now()
    if (!socket.send(frame)) return undefined
    while (performance.now() - sent < patience) {
      for (const received of socket.receive()) {
        const answer = parseAnswer(received)
        const value = answer && accept(answer)
        if (value !== undefined) return { value, after: performance.now() - sent }
      }
      await delay(look)
    }
  }
  return undefined
}
