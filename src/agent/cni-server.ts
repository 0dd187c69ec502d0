import { chmodSync, mkdirSync, unlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { Conflict, isAnswering, type Logger } from '../base/index.ts'
import { toCniError, type CniHandler, type CniReply } from '../network/cni/index.ts'
import { CniFrameReader } from './cni-frame.ts'
import type { Part } from './parts.ts'

/** A plugin that says nothing for so long is gone. Milliseconds. */
const silenceLimit = 30_000

/** The unix socket that the CNI plugin speaks to; only root may. `onPlugin` is told when one comes, before its request. */
export function createCniServer(
  path: string,
  handler: CniHandler,
  logger: Logger,
  onPlugin: () => void = () => {},
): Part {
  const sockets = new Set<Socket>()
  const running = new Set<Promise<void>>()
  const server = createServer((socket) => {
    onPlugin()
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', (error) => logger.debug({ err: error }, 'a CNI plugin went away'))
    serve(socket, async (request) => {
      const work = answer(socket, handler, request)
      running.add(work)
      await work
      running.delete(work)
    })
  })
  return {
    name: 'CNI socket',
    start: () => listen(server, path),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      await Promise.allSettled(running)
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

type Request = { environment: Map<string, string>; input: Buffer }

function serve(socket: Socket, handle: (request: Request) => Promise<void>): void {
  const reader = new CniFrameReader()
  socket.setTimeout(silenceLimit, () => socket.destroy())
  socket.on('data', (part: Buffer) => {
    try {
      const request = reader.push(part)
      if (!request) return
      socket.setTimeout(0)
      socket.pause()
      void handle(request)
    } catch (error) {
      socket.pause()
      reply(socket, { exitCode: 1, output: `${JSON.stringify(toCniError(error, '1.0.0'))}\n` })
    }
  })
}

async function answer(socket: Socket, handler: CniHandler, { environment, input }: Request): Promise<void> {
  reply(socket, await handler(environment, input))
}

function reply(socket: Socket, { exitCode, output }: CniReply): void {
  socket.end(Buffer.concat([Buffer.from([exitCode]), Buffer.from(output)]))
}

/** Takes the place of a socket that a killed agent left; throws Conflict when another agent answers there. */
async function listen(server: Server, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true })
  if (await isAnswering(path)) {
    throw new Conflict(`another agent listens on ${path}`, { remedy: 'Stop the other agent of this node first.' })
  }
  try {
    unlinkSync(path)
  } catch {
    // nothing was left there
  }
  const before = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ path, backlog: 1024 }, resolve)
    })
  } finally {
    process.umask(before)
  }
  chmodSync(path, 0o600)
}
