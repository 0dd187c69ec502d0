import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HTTPMethods,
} from 'fastify'
import { allKinds, type KindDefinition } from '../api/index.ts'
import { asCarbonadoError, CarbonadoError, Internal, InvalidInput, NotFound, type Logger } from '../base/index.ts'
import { statusOf, type EmbeddedStore } from '../store/index.ts'
import { addDiscoveryRoutes } from './discovery-routes.ts'
import type { FeatureControllers } from './feature.ts'
import { addMetrics } from './metrics.ts'
import { addIdentityRoutes } from './identity-routes.ts'
import type { IssuedTokens } from './issued-tokens.ts'
import type { NodeProxy } from './node-proxy.ts'
import { addBodyParsers } from './request-body.ts'
import { addKindRoutes } from './resource-routes.ts'
import { authenticate, type Caller, type KnownToken } from './tokens.ts'
import type { WatchServer } from './watch-server.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set for every request that needs a token. */
    caller: Caller | undefined
    /** Whether the store was frozen when the request came: then all that can be read in it is on the disk. */
    readsFrozen: boolean
    /** For requests that only read: reads once more, where the disk has refused what the first answer told. */
    readAgain: (() => Promise<object>) | undefined
  }
}

/** What the HTTP application works with. */
export interface HttpAppParts {
  store: EmbeddedStore
  watches: WatchServer
  proxy: NodeProxy
  /** The tokens of the tokens file, by hash, as they are now. */
  fileTokens: () => Map<string, KnownToken>
  issuedTokens: IssuedTokens
  /** Whose decisions answers to writes tell. */
  controllers: Pick<FeatureControllers, 'settled'>[]
  /** Whether control can serve: its controllers have read the store. */
  isReady: () => boolean
  logger: Logger
  bodyLimit: number
}

const withoutToken = new Set(['/healthz', '/livez', '/readyz'])
const allMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Makes the application that answers requests; `routing` of the result takes them. */
export function makeHttpApp(parts: HttpAppParts): FastifyInstance {
  const kinds = allKinds as unknown as KindDefinition[]
  const app = Fastify({
    bodyLimit: parts.bodyLimit,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 300 },
    frameworkErrors: (error, _request, reply) => void answerError(error, reply as FastifyReply, parts.logger),
  })
  app.decorateRequest('caller', undefined)
  app.decorateRequest('readsFrozen', false)
  app.decorateRequest('readAgain', undefined)
  app.addHook('onRequest', async (request) => {
    request.readsFrozen = parts.store.isFrozen
    if (withoutToken.has(request.routeOptions.url ?? '')) return
    request.caller = authenticate(
      request.headers.authorization,
      (hash) => parts.fileTokens().get(hash) ?? parts.issuedTokens.find(hash),
    )
  })
  const refuseOtherMethods = watchMethods(app)
  addBodyParsers(app)
  addErrorAnswers(app, parts.logger)
  app.addHook('preSerialization', async (request, reply, payload) => {
    if (reply.statusCode >= 500 || request.readsFrozen) return payload
    try {
      await parts.store.durable() // also reads: what they tell must not be taken back
    } catch (error) {
      if (!request.readAgain || !parts.store.isFrozen) throw error
      return request.readAgain() // frozen: the store has gone back to what the disk has
    }
    return payload
  })
  addHealthRoutes(app, parts)
  addMetrics(app, parts.store, kinds)
  addDiscoveryRoutes(app, kinds)
  addIdentityRoutes(app, {
    issued: parts.issuedTokens,
    fileTokens: () => parts.fileTokens().values(),
    // whoever still may comes back with a token and goes on where it was
    onRevoked: () => parts.watches.endAll(),
    logger: parts.logger,
  })
  for (const kind of kinds) addKindRoutes(app, kind, parts)
  parts.proxy.addRoutes(app)
  refuseOtherMethods()
  return app
}

function addHealthRoutes(app: FastifyInstance, { isReady }: HttpAppParts): void {
  for (const path of ['/healthz', '/livez'])
    app.get(path, async (_request, reply) => reply.type('text/plain').send('ok'))
  app.get('/readyz', async (_request, reply) => {
    const ready = isReady()
    return reply
      .code(ready ? 200 : 503)
      .type('text/plain')
      .send(ready ? 'ok' : 'not ready')
  })
}

function addErrorAnswers(app: FastifyInstance, logger: Logger): void {
  app.setErrorHandler(async (thrown: FastifyError, _request, reply) => answerError(thrown, reply, logger))
  app.setNotFoundHandler(async (request) => {
    if (!allMethods.includes(request.method)) throw methodNotAllowed(request.method, allMethods)
    throw new NotFound('The server has nothing at this path', { remedy: 'See /apis for what there is.' })
  })
}

function answerError(thrown: FastifyError, reply: FastifyReply, logger: Logger): FastifyReply {
  const error = thrown instanceof CarbonadoError ? thrown : ofFramework(thrown)
  const status = statusOf(error.code === 'Internal' ? hidden(error) : error)
  if (error.code === 'Internal') logger.error({ err: error }, 'a request failed')
  if (status.code === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status.code).type('application/json').send(status)
}

/** Notes the methods of every route added from now on; the function returned answers 405 to all others. */
function watchMethods(app: FastifyInstance): () => void {
  const served = new Map<string, string[]>()
  app.addHook('onRoute', ({ url, method }) => {
    served.set(url, [...(served.get(url) ?? []), ...[method].flat()])
  })
  return () => {
    for (const [url, methods] of [...served]) {
      const refuse = async (request: FastifyRequest): Promise<never> => {
        throw methodNotAllowed(request.method, methods)
      }
      const others = allMethods.filter((method) => !methods.includes(method)) as HTTPMethods[]
      // refused before the body is read, whatever its type
      app.route({ method: others, url, onRequest: refuse, handler: refuse })
    }
  }
}

function methodNotAllowed(method: string, possible: string[]): InvalidInput {
  return new InvalidInput(`${method} is not possible here, only ${possible.join(', ')}`, {
    remedy: 'Use another method.',
    details: { reason: 'MethodNotAllowed' },
  })
}

/** Errors of the framework that the caller caused; anything else is a defect. */
function ofFramework(error: FastifyError): CarbonadoError {
  const reasons: Record<number, string> = { 413: 'RequestEntityTooLarge', 415: 'UnsupportedMediaType' }
  const code = error.statusCode ?? 500
  if (code >= 500) return asCarbonadoError(error)
  return new InvalidInput(error.message, {
    remedy: 'Correct the request.',
    details: reasons[code] ? { reason: reasons[code] } : {},
  })
}

/** What goes wrong inside is for the log; the message could tell strangers about files and addresses. */
function hidden(error: CarbonadoError): CarbonadoError {
  return new Internal('Control failed to handle the request', {
    remedy: error.remedy ?? "Look for the reason in control's log.",
  })
}
