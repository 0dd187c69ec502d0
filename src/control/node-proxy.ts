import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { urlToHttpOptions } from 'node:url'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Node } from '../api/index.ts'
import { Forbidden, InvalidInput, readTextFile, Unavailable } from '../base/index.ts'
import type { EmbeddedStore } from '../store/index.ts'
import type { ControlConfig } from './config.ts'
import { demandOperator } from './roles.ts'
import type { Caller } from './tokens.ts'

/** Milliseconds without a byte from an agent until it is given up. */
const agentTimeout = 10_000
/** Milliseconds that an unused connection to an agent is kept, unless the agent closes it earlier. */
const unusedTimeout = 60_000

/** Passes GETs, and probes, on to the agent of a node, so that clients need no way to the nodes and no token of theirs. */
export class NodeProxy {
  readonly #store: EmbeddedStore
  readonly #agents: Agent | undefined
  readonly #tokenFile: string | undefined

  /** Without `agentCaFile` no agent can be trusted, and all requests are refused. */
  constructor(store: EmbeddedStore, config: ControlConfig) {
    this.#store = store
    this.#tokenFile = config.agentTokenFile
    if (config.agentCaFile) {
      const ca = readTextFile(config.agentCaFile, 'agent certificate authority')
      this.#agents = new Agent({ ca, keepAlive: true, timeout: unusedTimeout, maxSockets: 8 })
    }
  }

  addRoutes(app: FastifyInstance): void {
    const node = `/apis/${Node.group}/${Node.version}/${Node.plural}/:name/proxy`
    app.get(`${node}/*`, (request, reply) => this.#pass(request, reply))
    // frames in the name of an endpoint are more than a look
    const operator = async (request: FastifyRequest): Promise<void> => demandOperator(request.caller!, 'send probes')
    app.post(`${node}/v1/probe`, { onRequest: operator }, (request, reply) => this.#pass(request, reply, 'v1/probe'))
  }

  async close(): Promise<void> {
    this.#agents?.destroy()
  }

  async #pass(request: FastifyRequest, reply: FastifyReply, fixed?: string): Promise<FastifyReply> {
    const { name, '*': rest = fixed! } = request.params as { name: string; '*'?: string }
    const path = agentPath(rest, request.raw.url!)
    if (isContent(rest)) demandReaderOfContent(request.caller!)
    const address = await this.#addressOf(name)
    if (!this.#agents) {
      throw new Unavailable('Control has no authority to check agents against', { remedy: 'Set agentCaFile.' })
    }
    try {
      const body = request.method === 'POST' ? JSON.stringify(request.body ?? null) : undefined
      const answer = await this.#ask(this.#agents, address, path, body)
      const contentType = answer.headers['content-type'] ?? 'application/octet-stream'
      return await reply.code(answer.statusCode!).header('content-type', contentType).send(answer)
    } catch (error) {
      throw new Unavailable(`The agent of node "${name}" at ${address} does not answer: ${(error as Error).message}`, {
        remedy: `Check on the node that the agent runs and that control can reach ${address}.`,
        cause: error,
      })
    }
  }

  /** A GET, or with a body a POST. */
  #ask(agent: Agent, address: string, path: string, body?: string): Promise<IncomingMessage> {
    const { hostname, port } = urlToHttpOptions(new URL(`https://${address}`))
    const method = body === undefined ? 'GET' : 'POST'
    const options = { agent, hostname, port, path, method, headers: this.#headers(), timeout: agentTimeout }
    return new Promise((resolve, reject) => {
      let answer: IncomingMessage | undefined
      const request = httpsRequest(options, (response) => resolve((answer = response)))
      request.on('error', reject)
      request.once('close', () => reject(new Error('the connection was closed without an answer'))) // such as after 101
      request.once('timeout', () =>
        (answer ?? request).destroy(new Error(`nothing was heard for ${agentTimeout / 1000} s`)),
      )
      request.end(body)
    })
  }

  async #addressOf(name: string): Promise<string> {
    const node = await this.#store.get(Node, { name })
    const address = node.status?.agent?.address
    if (address && /^(\[[0-9a-fA-F:.]+\]|[-A-Za-z0-9.]+):\d{1,5}$/.test(address)) return address
    throw new Unavailable(`The agent of node "${name}" has not told where it is`, {
      remedy: 'Start the agent on the node.',
    })
  }

  #headers(): Record<string, string> {
    if (!this.#tokenFile) return {}
    return { authorization: `Bearer ${readTextFile(this.#tokenFile, 'agent token').trim()}` }
  }
}

/** Whether a path of the agent gives what users have stored, not what is known about it. */
function isContent(rest: string): boolean {
  return rest.replaceAll(/\/+/g, '/') === 'v1/snapshot-blocks'
}

/** What users have stored is for nodes that copy it and for administrators. */
function demandReaderOfContent({ user, role }: Caller): void {
  if (role === 'agent' || role === 'admin') return
  throw new Forbidden(`User "${user}" (${role}) may not read the content of snapshots`, {
    remedy: 'Use the token of an administrator.',
  })
}

/** The path for the agent, with the query. Refuses anything that could be read as another path. */
function agentPath(rest: string, url: string): string {
  if (!/^[-\w./]*$/.test(rest) || rest.split('/').includes('..')) {
    throw new InvalidInput('The path for the agent has characters or steps that are not allowed', {
      remedy: 'Use letters, digits, "-", "_", "." and "/".',
    })
  }
  const query = url.indexOf('?')
  return `/${rest}${query === -1 ? '' : url.slice(query)}`
}
