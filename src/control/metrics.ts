import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { KindDefinition } from '../api/index.ts'
import type { EmbeddedStore } from '../store/index.ts'

/** Counts requests and what is in the store, and serves the figures at `/metrics` in Prometheus' text format. */
export function addMetrics(app: FastifyInstance, store: EmbeddedStore, kinds: KindDefinition[]): void {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requests = new Counter({
    name: 'carbonado_control_requests_total',
    help: 'Requests that were answered, by method, route and HTTP code.',
    labelNames: ['method', 'route', 'code'],
    registers: [registry],
  })
  const seconds = new Histogram({
    name: 'carbonado_control_request_seconds',
    help: 'Time to answer, without watches.',
    labelNames: ['method'],
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1, 5],
    registers: [registry],
  })
  addStoreGauges(registry, store, kinds)
  app.addHook('onResponse', async (request, reply) => {
    requests.inc({ method: request.method, route: routeOf(request), code: reply.statusCode })
    if (reply.hasHeader('content-length')) seconds.observe({ method: request.method }, reply.elapsedTime / 1000)
  })
  app.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}

function addStoreGauges(registry: Registry, store: EmbeddedStore, kinds: KindDefinition[]): void {
  new Gauge({
    name: 'carbonado_control_objects',
    help: 'Objects in the store.',
    labelNames: ['kind'],
    registers: [registry],
    collect() {
      for (const kind of kinds) this.set({ kind: kind.kind }, store.count(kind))
    },
  })
  new Gauge({
    name: 'carbonado_control_watches',
    help: 'Open watches, those of the controllers included.',
    registers: [registry],
    collect() {
      this.set(store.watchCount)
    },
  })
}

/** The pattern, not the path: names of objects as label values would grow without bound. */
function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? 'none'
}
