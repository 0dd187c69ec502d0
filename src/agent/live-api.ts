import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { asCarbonadoError } from '../base/index.ts'
import type { LiveNode } from '../network/live-endpoint.ts'
import type { MetricsText } from '../network/metrics.ts'
import type { Authenticate } from './bearer-tokens.ts'
import type { AgentConfig } from './config.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'

/** What the live API shows. */
export interface LiveView {
  node(): LiveNode
  metrics: MetricsText
  check(): Promise<NodeProblem[]>
}

/** Answers one path. */
type Route = () => Promise<{ contentType: string; text: string }>

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
  const json = (value: object): { contentType: string; text: string } => ({
    contentType: 'application/json; charset=utf-8',
    text: JSON.stringify(value),
  })
  return new Map<string, Route>([
    ['/healthz', async () => ({ contentType: 'text/plain; charset=utf-8', text: 'ok\n' })],
    ['/v1/endpoints', async () => json(view.node())],
    ['/v1/check', async () => json({ problems: await view.check() })],
    ['/metrics', async () => ({ contentType: view.metrics.contentType, text: await view.metrics.metrics() })],
  ])
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Map<string, Route>,
  authenticate: Authenticate,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0]!
  const refuse = (status: number, message: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
    response.end(JSON.stringify({ message }))
  }
  if (path !== '/healthz' && !authenticate(request.headers.authorization)) {
    return refuse(401, 'a valid bearer token is needed', { 'www-authenticate': 'Bearer' })
  }
  const route = routes.get(path)
  if (!route) return refuse(404, `there is no ${path}; there are ${[...routes.keys()].join(', ')}`)
  if (request.method !== 'GET') return refuse(405, 'only GET is served', { allow: 'GET' })
  try {
    const { contentType, text } = await route()
    response.writeHead(200, { 'content-type': contentType })
    response.end(text)
  } catch (error) {
    refuse(500, asCarbonadoError(error).message)
  }
}
