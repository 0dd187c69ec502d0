import { collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import type { KindDefinition } from '../../api/index.ts'
import { CarbonadoError, InvalidInput, Internal, type Logger } from '../../base/index.ts'
import { statusOf, type Admit, type SyncReader } from '../../store/index.ts'
import { addAdmissionWebhook } from './admission-webhook.ts'
import { addPodWebhooks } from './pod-webhook.ts'
import { addSchedulerExtender, type ExtenderParts } from './scheduling/index.ts'

/** What the application that the API server and kubelet ask is made of. */
export interface WebhookAppParts {
  kinds: KindDefinition[]
  reader: SyncReader
  admit: Admit
  /** The service account of agents, each of which is held to the node of its pod; absent: none is. */
  agents?: string | undefined
  isLeading: () => boolean
  /** Absent: no scheduler may ask. */
  scheduler?: Omit<ExtenderParts, 'logger'>
  bodyLimit: number
  logger: Logger
}

/** Makes the application with webhooks, health and metrics; `routing` of the result takes requests. */
export function makeWebhookApp(parts: WebhookAppParts): FastifyInstance {
  const { bodyLimit, isLeading, logger } = parts
  const app = Fastify({ bodyLimit, exposeHeadRoutes: false })
  app.setErrorHandler(async (thrown: FastifyError, _request, reply) => {
    const error = thrown instanceof CarbonadoError ? thrown : ofFramework(thrown)
    if (error.code === 'Internal') logger.error({ err: thrown }, 'a request failed')
    const status = statusOf(error)
    return reply.code(status.code).send(status)
  })
  // a replica that waits is as ready as the one that leads: both answer webhooks
  for (const path of ['/healthz', '/livez', '/readyz']) {
    app.get(path, async (_request, reply) => reply.type('text/plain').send('ok'))
  }
  addMetrics(app, isLeading)
  addAdmissionWebhook(app, parts)
  addPodWebhooks(app, parts)
  if (parts.scheduler) addSchedulerExtender(app, { ...parts.scheduler, logger })
  return app
}

function ofFramework(error: FastifyError): CarbonadoError {
  if (error.statusCode !== undefined && error.statusCode < 500) {
    return new InvalidInput(error.message, { remedy: 'Only the API server calls this path.', cause: error })
  }
  return new Internal('The request failed; the log of control says why', { cause: error })
}

function addMetrics(app: FastifyInstance, isLeading: () => boolean): void {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'carbonado_control_leading',
    help: 'Whether the controllers run in this replica.',
    registers: [registry],
    collect() {
      this.set(isLeading() ? 1 : 0)
    },
  })
  app.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}
