import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { dirname } from 'node:path'
import { Conflict, endUntakenAnswers, InvalidInput, isAnswering, readTextFile, Unavailable } from '../base/index.ts'
import type { ControlConfig } from './config.ts'
import { guardSessions, http2Limits } from './http2-sessions.ts'
import { answerProtocolErrors } from './protocol-errors.ts'

type Address = ControlConfig['listen'][number]
/** The types of Node lack the method of servers that take HTTP/1.1 too. */
type DualServer = Http2SecureServer & Pick<Server, 'closeIdleConnections'>
type AnyServer = Server | DualServer
/** Requests and answers of HTTP/2 come in the form of those of HTTP/1.1. */
type Http2Handler = Parameters<typeof createSecureServer>[1]

/** What is listened on, and with which certificates. */
export type ListenersConfig = Pick<ControlConfig, 'listen' | 'tls'> & {
  /**
   * Authority of certificates that clients may show; absent: none is asked for. A client without one is served all the
   * same: `authorized` of its socket tells.
   */
  clientAuthorityFile?: string
}

/** Milliseconds: limits against clients that send slowly, and how long an idle connection is kept. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5_000,
  requireHostHeader: false, // nothing depends on it, and Node's refusal has no body
}
const handshakeTimeout = 10_000

/** The sockets that control serves. */
export class Listeners {
  readonly #config: ListenersConfig
  readonly #handle: RequestListener
  readonly #servers: { server: AnyServer; address: Address }[] = []
  readonly #sockets = new Set<Socket>()

  constructor(config: ListenersConfig, handle: RequestListener) {
    this.#config = config
    this.#handle = handle
  }

  /** Where control can be reached, as the rest client takes it; port 0 shows as the one that was given. */
  get urls(): string[] {
    return this.#servers.map(({ server, address }) => {
      if ('socketPath' in address) return `unix://${address.socketPath}`
      const host = address.host.includes(':') ? `[${address.host}]` : address.host
      return `https://${host}:${(server.address() as AddressInfo).port}`
    })
  }

  /** Opens all addresses. Throws InvalidInput, Conflict (address in use) or Unavailable; then none is left open. */
  async open(): Promise<void> {
    try {
      for (const address of this.#config.listen) {
        const server = 'socketPath' in address ? createServer(limits, this.#handle) : this.#tlsServer()
        answerProtocolErrors(server)
        endUntakenAnswers(server)
        this.#remember(server)
        if ('socketPath' in address) await prepareSocket(address.socketPath)
        await listen(server, address)
        this.#servers.push({ server, address })
      }
    } catch (error) {
      this.stopAccepting()
      throw error
    }
  }

  /** Reads certificate and key again; connections that exist keep the old ones. */
  reloadCertificate(): void {
    const context = this.#tlsFiles()
    for (const { server } of this.#servers) if ('setSecureContext' in server) server.setSecureContext(context)
  }

  /** Takes no new connections and closes those that are idle. */
  stopAccepting(): void {
    for (const { server } of this.#servers) {
      server.close()
      server.closeIdleConnections()
    }
  }

  /** Waits until all connections have ended; those that have not within `patience` milliseconds are cut. */
  async drain(patience: number): Promise<void> {
    const cut = setTimeout(() => this.#sockets.forEach((socket) => socket.destroy()), patience)
    await Promise.all(
      this.#servers.map(({ server }) => {
        server.closeIdleConnections()
        return closed(server)
      }),
    )
    clearTimeout(cut)
  }

  #remember(server: AnyServer): void {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** For HTTP/2, over which a client can have all its watches and requests on one connection, and HTTP/1.1. */
  #tlsServer(): DualServer {
    const server = createSecureServer(
      { ...limits, ...http2Limits, ...this.#tlsFiles(), allowHTTP1: true, minVersion: 'TLSv1.2', handshakeTimeout },
      this.#handle as unknown as Http2Handler,
    ) as DualServer
    guardSessions(server)
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    return server
  }

  #tlsFiles(): { cert: string; key: string; ca?: string; requestCert?: boolean; rejectUnauthorized?: boolean } {
    const { tls, clientAuthorityFile } = this.#config
    const own = { cert: readTextFile(tls!.certificateFile, 'certificate'), key: readTextFile(tls!.keyFile, 'key') }
    if (clientAuthorityFile === undefined) return own
    const ca = readTextFile(clientAuthorityFile, 'authority of clients')
    return { ...own, ca, requestCert: true, rejectUnauthorized: false }
  }
}

function closed(server: AnyServer): Promise<void> {
  return new Promise((resolve) => {
    const check = setInterval(() => {
      server.closeIdleConnections()
      server.getConnections((_error, count) => {
        if (count > 0) return
        clearInterval(check)
        resolve()
      })
    }, 10)
  })
}

async function listen(server: AnyServer, address: Address): Promise<void> {
  const where = 'socketPath' in address ? { path: address.socketPath } : { host: address.host, port: address.port }
  const mask = process.umask(0o177) // a unix socket has its final mode from the first moment
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(where, resolve)
    })
  } catch (error) {
    throw new Unavailable(`Control cannot listen on ${JSON.stringify(address)}: ${(error as Error).message}`, {
      remedy: 'Stop what uses the address, or change "listen" in the configuration.',
      cause: error,
    })
  } finally {
    process.umask(mask)
  }
  if ('socketPath' in address) chmodSync(address.socketPath, 0o600)
}

/** Makes the folder and removes a socket that nobody serves any more. */
async function prepareSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > 107) {
    throw new InvalidInput(`The socket path ${path} is longer than the 107 bytes that Linux takes`, {
      remedy: 'Choose a shorter path.',
    })
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  if (await isAnswering(path)) {
    throw new Conflict(`Another process serves ${path}`, { remedy: 'Stop it, or choose another socketPath.' })
  }
  rmSync(path, { force: true })
}
