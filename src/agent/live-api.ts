import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { asCarbonadoError, InvalidInput, type ErrorCode } from '../base/index.ts'
import type { LiveNode } from '../network/live-endpoint.ts'
import type { MetricsText } from '../network/metrics.ts'
import type { PathFacts, PathProbe, PathQuestion } from '../network/path/index.ts'
import type { Authenticate } from './bearer-tokens.ts'
import type { AgentConfig } from './config.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'

/** What the live API shows. */
export interface LiveView {
  node(): LiveNode
  metrics: MetricsText
  check(): Promise<NodeProblem[]>
  /** Blocks of a snapshot on this node, encoded for the node that copies it. */
  snapshotBlocks(uid: string, offset: number, length: number): Promise<Readable>
  /** What is on the way of a packet from or to an endpoint. */
  path(question: PathQuestion): Promise<PathFacts>
  /** Sends real frames from an endpoint to an address. */
  probe(question: Required<Pick<PathQuestion, 'endpointId' | 'to'>>): Promise<PathProbe>
}

/** Answers one path with one method; GET unless told. */
interface Route {
  method?: 'POST'
  answer(request: { query: URLSearchParams; body: string }): Promise<{ contentType: string; body: string | Readable }>
}

const largestBody = 4096

/** The agent's HTTPS server: endpoints and metrics of this node as they are now. Everything but /healthz wants a token. */
export function createLiveApi(
  config: Pick<AgentConfig, 'listen' | 'tls'>,
  authenticate: Authenticate,
  view: LiveView,
): Part & { address(): string } {
  const routes = makeRoutes(view)
  const server = createServer(
    { cert: readFileSync(config.tls.certificateFile), key: readFileSync(config.tls.keyFile) },
    (request, response) => void answer(request, response, routes, authenticate),
  )
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
    ['/healthz', { answer: async () => ({ contentType: 'text/plain; charset=utf-8', body: 'ok\n' }) }],
    ['/v1/endpoints', { answer: async () => json(view.node()) }],
    ['/v1/check', { answer: async () => json({ problems: await view.check() }) }],
    ['/v1/path', { answer: async ({ query }) => json(await view.path(pathQuestion(query))) }],
    ['/v1/probe', { method: 'POST', answer: async ({ body }) => json(await view.probe(probeQuestion(body))) }],
    ['/v1/snapshot-blocks', { answer: ({ query }) => snapshotBlocks(view, query) }],
    [
      '/metrics',
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
  if (path !== '/healthz' && !authenticate(request.headers.authorization)) {
    return refuse(401, 'a valid bearer token is needed', { 'www-authenticate': 'Bearer' })
  }
  const route = routes.get(path!)
  if (!route) return refuse(404, `there is no ${path}; there are ${[...routes.keys()].join(', ')}`)
  const { method = 'GET' } = route
  if (request.method !== method) return refuse(405, `only ${method} is served at ${path}`, { allow: method })
  try {
    const sent = method === 'GET' ? '' : await readBody(request)
    const { contentType, body } = await route.answer({ query: new URLSearchParams(query), body: sent })
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

const statusCodes: Partial<Record<ErrorCode, number>> = { InvalidInput: 400, NotFound: 404 }

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length
    if (length > largestBody) throw malformed(`is longer than ${largestBody} bytes`)
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
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    throw malformed('is not JSON')
  }
  const { endpoint: endpointId, to } = (parsed ?? {}) as Record<string, unknown>
  if (typeof endpointId === 'string' && typeof to === 'string') return { endpointId, to }
  throw malformed('is not {"endpoint": UID, "to": ADDRESS}')
}

function malformed(problem: string): InvalidInput {
  return new InvalidInput(`the request ${problem}`, { remedy: 'See docs/agent.md.' })
}
