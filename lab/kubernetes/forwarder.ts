import { rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'

/**
 * Passes connections on from one address to another, byte by byte: `node forwarder.ts FROM TO`, each a path or HOST:PORT.
 * A unix socket is how one gets from the host's network into that of a machine.
 */
const [from, to] = process.argv.slice(2) as [string, string]

type Address = { path: string } | { host: string; port: number }

function parse(text: string): Address {
  if (text.startsWith('/')) return { path: text }
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) }
}

function join(near: Socket, far: Socket): void {
  near.pipe(far)
  far.pipe(near)
  near.on('error', () => far.destroy()).on('close', () => far.destroy())
  far.on('error', () => near.destroy()).on('close', () => near.destroy())
}

const listen = parse(from)
if ('path' in listen) rmSync(listen.path, { force: true })
createServer((near) => join(near, connect(parse(to)))).listen(listen)
