import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { asCarbonadoError, endUntakenAnswers, InvalidInput, type ErrorCode } from '../base/index.ts'
import type { LiveNode } from '../network/live-endpoint.ts'
import type { MetricsText } from '../network/metrics.ts'
import type { PathFacts, PathProbe, PathQuestion } from '../network/path/index.ts'
import type { LiveStorage } from '../storage/live-volume.ts'
import type { Authenticate, LiveApiUser } from './bearer-tokens.ts'
import type { AgentConfig } from './config.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'
import { metricsPath, metricsReaderRole } from './metrics-readers.ts'
import { visitorHeader, visitorRole } from './visitors.ts'

/** What the live API shows. */
export interface LiveView {
  node(): LiveNode
  volumes(): LiveStorage
  metrics: MetricsText
  check(): Promise<NodeProblem[]>
  /** Blocks of a snapshot on this node, encoded for the node that copies it. */
  snapshotBlocks(uid: string, offset: number, length: number): Promise<Readable>
  /** What is on the way of a packet from or to an endpoint. */
  path(question: PathQuestion): Promise<PathFacts>
  /** Sends real frames from an endpoint to an address. */
  probe(question: Required<Pick<PathQuestion, 'endpointId' | 'to'>>): Promise<PathProbe>
  /**
   * Takes what another agent puts to /v1/receive-limits; `speaker` is the node that its token is for, where it is for one.
   * Throws InvalidInput, Forbidden and Conflict.
   */
  acceptLimits(message: unknown, speaker: string | undefined): Promise<object>
}

/** Answers one path with one method; GET unless told. */
interface Route {
  method?: 'POST' | 'PUT'
  /** Whether it is for everybody, with or without a token. */
  isOpen?: boolean
  /** Role that is needed; absent: any. */
  role?: string
  /** Most bytes of a body; `largestBody` unless told. */
  largestBody?: number
  answer(request: {
    query: URLSearchParams
    body: string
    user?: LiveApiUser
  }): Promise<{ contentType: string; body: string | Readable }>
}

/** All that those of a role may use; others may use everything that needs no role. */
const pathsOf: Record<string, ReadonlySet<string>> = {
  // what is known about endpoints and volumes, not what users have stored in them
  [visitorRole]: new Set(['/v1/endpoints', '/v1/volumes', '/v1/check', '/v1/path', '/v1/probe', metricsPath]),
  [metricsReaderRole]: new Set([metricsPath]),
}
const largestBody = 4096
/** Most bytes of the limits of one receiving node. */
const largestLimits = 512 * 1024
/** Milliseconds: limits against clients that send slowly, and how long an idle connection is kept for the next question. */
const limits = {
  handshakeTimeout: 10_000,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 70_000, // longer than those who use it again keep it
}
/** A connection costs memory before its token is looked at. More than the agents of a large cluster have, and all readers. */
const mostConnections = 2_000

/**
 * The agent's HTTPS server: endpoints and metrics of this node as they are now. Everything that it has but /healthz wants a
 * token; only for that one is looked at.
 */
export function createLiveApi(
  config: Pick<AgentConfig, 'listen' | 'tls'>,
  authenticate: Authenticate,
  view: LiveView,
  { patience }: { patience?: number } = {},
): Part & { address(): string } {
  const routes = makeRoutes(view)
  const server = createServer(
    { ...limits, cert: readFileSync(config.tls.certificateFile), key: readFileSync(config.tls.keyFile) },
    (request, response) => void answer(request, response, routes, authenticate),
  )
  server.maxConnections = mostConnections
  endUntakenAnswers(server, patience) // who stops reading would keep the device of a snapshot
  return {
    name: 'live API',
    start: () =>
      new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(config.listen, resolve)
      }),
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
    address() {
      const { address, port } = server.address() as AddressInfo
      return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    },
  }
}

function makeRoutes(view: LiveView): Map<string, Route> {
  const json = (value: object): { contentType: string; body: string } => ({
    contentType: 'application/json; charset=utf-8',
    body: JSON.stringify(value),
  })
  return new Map<string, Route>([
    ['/healthz', { isOpen: true, answer: async () => ({ contentType: 'text/plain; charset=utf-8', body: 'ok\n' }) }],
    ['/v1/endpoints', { answer: async () => json(view.node()) }],
    ['/v1/volumes', { answer: async () => json(view.volumes()) }],
    ['/v1/check', { answer: async () => json({ problems: await view.check() }) }],
    ['/v1/path', { answer: async ({ query }) => json(await view.path(pathQuestion(query))) }],
    ['/v1/probe', { method: 'POST', answer: async ({ body }) => json(await view.probe(probeQuestion(body))) }],
    ['/v1/snapshot-blocks', { answer: ({ query }) => snapshotBlocks(view, query) }],
    [
      '/v1/receive-limits',
      {
        method: 'PUT',
        role: 'agent',
        largestBody: largestLimits,
        answer: async ({ body, user }) => json(await view.acceptLimits(parseJson(body), user?.nodeName)),
      },
    ],
    [
      metricsPath,
      { answer: async () => ({ contentType: view.metrics.contentType, body: await view.metrics.metrics() }) },
    ],
  ])
}

async function snapshotBlocks(
  view: LiveView,
  query: URLSearchParams,
): Promise<{ contentType: string; body: Readable }> {
  const [offset, length] = [Number(query.get('offset')), Number(query.get('length'))]
  const body = await view.snapshotBlocks(query.get('uid') ?? '', offset, length)
  return { contentType: 'application/octet-stream', body }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Map<string, Route>,
  authenticate: Authenticate,
): Promise<void> {
  const [path, query] = (request.url ?? '').split('?', 2)
  const refuse = (status: number, message: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
    response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: status }))
  }
  const route = routes.get(path!)
  if (!route) return refuse(404, `there is no ${path}; there are ${[...routes.keys()].join(', ')}`)
  const { method = 'GET', role, isOpen } = route
  const visitorToken = request.headers[visitorHeader]
  const user = isOpen ? undefined : await authenticate(request.headers.authorization, [visitorToken].flat()[0], path)
  if (!isOpen && !user) return refuse(401, 'a valid bearer token is needed', { 'www-authenticate': 'Bearer' })
  if (request.method !== method) return refuse(405, `only ${method} is served at ${path}`, { allow: method })
  if (user && pathsOf[user.role]?.has(path!) === false) return refuse(403, `${path} is not for the role ${user.role}`)
  if (role !== undefined && user?.role !== role) return refuse(403, `${path} needs a token with the role ${role}`)
  try {
    const sent = method === 'GET' ? '' : await readBody(request, route.largestBody ?? largestBody)
    const { contentType, body } = await route.answer({ query: new URLSearchParams(query), body: sent, user })
    response.writeHead(200, { 'content-type': contentType })
    if (typeof body === 'string') response.end(body)
    else await pipeline(body, response)
  } catch (thrown) {
    if (response.headersSent) return void response.destroy()
    const error = asCarbonadoError(thrown)
    refuse(
      statusCodes[error.code] ?? 500,
      error.remedy === undefined ? error.message : `${error.message}. ${error.remedy}`,
    )
  }
}

const statusCodes: Partial<Record<ErrorCode, number>> = {
  Forbidden: 403,
  InvalidInput: 400,
  NotFound: 404,
  Conflict: 409,
}

async function readBody(request: IncomingMessage, most: number): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  // without the option a body that is too long would take the connection with it, and the answer
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += part.length
    if (length > most) throw malformed(`is longer than ${most} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/** `?endpoint=UID&to=ADDRESS&peer=NODE`. Throws InvalidInput. */
function pathQuestion(query: URLSearchParams): PathQuestion {
  const endpointId = query.get('endpoint')
  if (!endpointId) throw malformed('names no endpoint')
  const [to, peer] = [query.get('to') ?? undefined, query.get('peer') ?? undefined]
  return { endpointId, ...(to === undefined ? {} : { to }), ...(peer === undefined ? {} : { peer }) }
}

/** `{"endpoint": UID, "to": ADDRESS}`. Throws InvalidInput. */
function probeQuestion(body: string): Required<Pick<PathQuestion, 'endpointId' | 'to'>> {
  const { endpoint: endpointId, to } = (parseJson(body) ?? {}) as Record<string, unknown>
  if (typeof endpointId === 'string' && typeof to === 'string') return { endpointId, to }
  throw malformed('is not {"endpoint": UID, "to": ADDRESS}')
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    throw malformed('is not JSON')
  }
}

function malformed(problem: string): InvalidInput {
  return new InvalidInput(`the request ${problem}`, { remedy: 'See docs/agent.md.' })
}
