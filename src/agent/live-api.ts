import { readFileSync } from 'node:fs'
import fastify, { type FastifyInstance } from 'fastify'
import type { DropReason } from '../network/engine.ts'
import type { MetricsText } from '../network/metrics.ts'
import type { EndpointRates } from '../network/rates.ts'
import type { Authenticate } from './bearer-tokens.ts'
import type { AgentConfig } from './config.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'

/** An attached endpoint as it is now. Bandwidth and rates in bits per second. */
export interface LiveEndpoint {
  namespace: string
  name: string
  endpointId: string
  containerId: string
  interfaceName: string
  bandwidthFloor: number
  bandwidthCap?: number
  sentBytes: number
  sentPackets: number
  receivedBytes: number
  receivedPackets: number
  deliveredBytes: number
  drops: Record<DropReason, number>
  windows: { withDemand: number; attained: number }
  rates: EndpointRates
}

/** What the live API shows. */
export interface LiveView {
  endpoints(): LiveEndpoint[]
  metrics: MetricsText
  check(): Promise<NodeProblem[]>
}

/** The agent's HTTPS server: endpoints and metrics of this node as they are now. Everything but /healthz wants a token. */
export function createLiveApi(
  config: Pick<AgentConfig, 'listen' | 'tls'>,
  authenticate: Authenticate,
  view: LiveView,
): Part & { address(): string } {
  const app = fastify({
    https: { cert: readFileSync(config.tls.certificateFile), key: readFileSync(config.tls.keyFile) },
    forceCloseConnections: true,
    logger: false,
  }) as unknown as FastifyInstance
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/healthz' || authenticate(request.headers.authorization)) return
    await reply.code(401).header('WWW-Authenticate', 'Bearer').send({ message: 'a valid bearer token is needed' })
  })
  app.get('/healthz', async () => 'ok\n')
  app.get('/v1/endpoints', async () => ({ endpoints: view.endpoints() }))
  app.get('/v1/check', async () => ({ problems: await view.check() }))
  app.get('/metrics', async (_request, reply) => {
    return reply.type(view.metrics.contentType).send(await view.metrics.metrics())
  })
  return {
    name: 'live API',
    start: () => app.listen(config.listen).then(() => {}),
    stop: () => app.close(),
    address() {
      const { address, port } = app.server.address() as { address: string; port: number }
      return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    },
  }
}
