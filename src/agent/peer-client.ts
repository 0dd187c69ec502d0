import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import { text } from 'node:stream/consumers'
import type { ConnectionOptions } from 'node:tls'
import { urlToHttpOptions } from 'node:url'
import { Conflict, NotFound, raceConnections, readTextFile, TokenFile, Unavailable } from '../base/index.ts'
import type { AgentConfig } from './config.ts'

/** Milliseconds that another agent may take to answer; it only writes a few map entries, but its answer may have to come through a flood. */
const patience = 3_000
/** Milliseconds that an unused connection is kept. */
const unusedTimeout = 60_000

/** How this agent shows itself to others, and knows them. */
export interface PeerSettings {
  /** Authority of the other agents' certificates. */
  caFile: string
  /** Token that they know by the role `agent`; read again every minute, so that it can be replaced. */
  tokenFile: string
  /** Name that must be in their certificate, where it is not their address. */
  serverName?: string
}

/** Connections are needed most when the network is full, and loses the greetings of TCP and TLS. */
class RacingAgent extends Agent {
  override createConnection(...[options, done]: Parameters<Agent['createConnection']>): undefined {
    // who waits for it has given up by then, and asks anew
    raceConnections(options as ConnectionOptions, AbortSignal.timeout(patience)).then(
      (socket) => done?.(null, socket),
      (error: Error) => done?.(error, undefined as never),
    )
  }
}

/** Speaks to the live API of other agents, over connections that are kept. */
export class PeerClient {
  readonly #connections: Agent
  readonly #tokenFile: TokenFile

  /** Throws InvalidInput when a file cannot be read. */
  constructor({ caFile, tokenFile, serverName }: PeerSettings) {
    const ca = readTextFile(caFile, 'authority of other agents')
    this.#tokenFile = new TokenFile(tokenFile, 'token for other agents')
    void this.#tokenFile.token // a file that is missing is told at the start
    this.#connections = new RacingAgent({
      ca,
      servername: serverName,
      keepAlive: true,
      timeout: unusedTimeout,
      maxSockets: 4,
    })
  }

  /** Puts JSON to host:port and resolves with the JSON that is answered. Throws Conflict when it came too late, else Unavailable. */
  async put(address: string, path: string, value: unknown): Promise<unknown> {
    const answer = await this.#send(address, path, JSON.stringify(value)).catch((error: Error) => {
      throw new Unavailable(`the agent at ${address} does not answer: ${error.message}`, { cause: error })
    })
    const body = await text(answer)
    if (answer.statusCode === 200) return JSON.parse(body)
    if (answer.statusCode === 409) throw new Conflict(`the agent at ${address} has a newer message already`)
    throw new Unavailable(`the agent at ${address} answered ${answer.statusCode} to PUT ${path}: ${body.slice(0, 200)}`)
  }

  /** GETs what may be long; the body as it comes. Throws NotFound when there is no such thing there, else Unavailable. */
  async getStream(address: string, path: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const answer = await this.#request(address, path, { method: 'GET', signal }).catch((error: Error) => {
      throw new Unavailable(`the agent at ${address} does not answer: ${error.message}`, { cause: error })
    })
    if (answer.statusCode === 200) return answer
    const said = `the agent at ${address} answered ${answer.statusCode} to GET ${path}: ${(await text(answer)).slice(0, 200)}`
    throw answer.statusCode === 404 ? new NotFound(said) : new Unavailable(said)
  }

  close(): void {
    this.#connections.destroy()
  }

  #send(address: string, path: string, body: string): Promise<IncomingMessage> {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    return this.#request(address, path, { method: 'PUT', headers, signal: AbortSignal.timeout(patience) }, body)
  }

  #request(address: string, path: string, options: RequestOptions, body?: string): Promise<IncomingMessage> {
    const { hostname, port } = urlToHttpOptions(new URL(`https://${address}`))
    const headers = { ...options.headers, authorization: `Bearer ${this.#tokenFile.token}` }
    return new Promise((resolve, reject) => {
      const request = httpsRequest({ ...options, agent: this.#connections, hostname, port, path, headers }, resolve)
      request.on('error', reject)
      request.end(body)
    })
  }
}

/** How this agent speaks to others; undefined when its configuration does not say. */
export function createPeerClient({ peers, control }: Pick<AgentConfig, 'peers' | 'control'>): PeerClient | undefined {
  const caFile = peers?.caFile ?? control.caFile
  return peers && caFile ? new PeerClient({ ...peers, caFile }) : undefined
}
