import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { apiVersionOf, type KindDefinition, type KubeObject } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'
import {
  earlyAnswerHeader,
  encodeEarlyAnswer,
  entityTagOf,
  wantsEarlyAnswer,
  type DeleteOptions,
  type EmbeddedStore,
  type ObjectReference,
} from '../store/index.ts'
import type { FeatureControllers } from './feature.ts'
import { listQueryOf, refuseDryRun } from './query.ts'
import { bodyObject, demandContentType } from './request-body.ts'
import { demand, guardOf, type Verb } from './roles.ts'
import { tableOf, wantsTable } from './table-answers.ts'
import type { WatchServer } from './watch-server.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

/** What resources are served from. */
export interface ResourceParts {
  store: EmbeddedStore
  watches: WatchServer
  controllers: Pick<FeatureControllers, 'settled'>[]
}

/** Serves a kind by the conventions of the Kubernetes API; see the paths in `addKindRoutes`. */
export function addKindRoutes(app: FastifyInstance, kind: KindDefinition, parts: ResourceParts): void {
  const root = `/apis/${kind.group}/${kind.version}`
  const all = `${root}/${kind.plural}`
  const collection = kind.namespaced ? `${root}/namespaces/:namespace/${kind.plural}` : all
  const handlers = new KindHandlers(kind, parts)
  const read = handlers.guard('read')
  app.get(collection, { onRequest: read }, handlers.list)
  if (kind.namespaced) app.get(all, { onRequest: read }, handlers.list)
  app.post(collection, { onRequest: handlers.guard('create') }, handlers.create)
  app.get(`${collection}/:name`, { onRequest: read }, handlers.get)
  app.put(`${collection}/:name`, { onRequest: handlers.guard('update') }, handlers.update)
  app.patch(`${collection}/:name`, { onRequest: handlers.guard('update') }, handlers.patch)
  app.delete(`${collection}/:name`, { onRequest: handlers.guard('delete') }, handlers.delete)
  if (!kind.hasStatus) return
  app.get(`${collection}/:name/status`, { onRequest: read }, handlers.get)
  app.put(`${collection}/:name/status`, { onRequest: handlers.guard('status') }, handlers.updateStatus)
  app.patch(`${collection}/:name/status`, { onRequest: handlers.guard('status') }, handlers.patchStatus)
}

class KindHandlers {
  readonly #kind: KindDefinition
  readonly #store: EmbeddedStore
  readonly #watches: WatchServer

  readonly #controllers: ResourceParts['controllers']

  constructor(kind: KindDefinition, { store, watches, controllers }: ResourceParts) {
    this.#kind = kind
    this.#store = store
    this.#watches = watches
    this.#controllers = controllers
  }

  guard(verb: Verb): (request: FastifyRequest) => Promise<void> {
    return async (request) => demand(request.caller!, verb, this.#kind)
  }

  readonly get: Handler = async (request) => {
    request.readAgain = async () => {
      const object = await this.#store.get(this.#kind, referenceOf(request))
      const { resourceVersion } = object.metadata
      return wantsTable(request) ? this.#table(request, [object], { resourceVersion }) : object
    }
    return request.readAgain()
  }

  readonly list: Handler = async (request, reply) => {
    const query = listQueryOf(request, referenceOf(request).namespace)
    if (query.watch) return this.#watches.serve(this.#kind, query, reply, request.caller?.expiresAt)
    request.readAgain = async () => {
      const { items, ...metadata } = this.#store.listShared(this.#kind, query.list)
      if (wantsTable(request)) return this.#table(request, items, metadata)
      return { kind: `${this.#kind.kind}List`, apiVersion: apiVersionOf(this.#kind), metadata, items }
    }
    return request.readAgain()
  }

  readonly create: Handler = async (request, reply) => {
    demandContentType(request, 'application/json')
    refuseDryRun(request)
    const object = this.#objectOf(request)
    reply.code(201)
    const guard = guardOf(request.caller!)
    const made = await this.#settled(await this.#store.create(this.#kind, object, { guard }))
    this.#store.beginFlush()
    answerEarly(request, reply, made)
    return made
  }

  readonly update: Handler = async (request) => {
    demandContentType(request, 'application/json')
    refuseDryRun(request)
    return this.#settled(await this.#store.update(this.#kind, this.#objectOf(request), guardOf(request.caller!)))
  }

  readonly updateStatus: Handler = async (request) => {
    demandContentType(request, 'application/json')
    refuseDryRun(request)
    return this.#store.updateStatus(this.#kind, this.#objectOf(request), guardOf(request.caller!))
  }

  readonly patch: Handler = async (request) => {
    demandContentType(request, 'application/merge-patch+json')
    refuseDryRun(request)
    const [reference, guard] = [referenceOf(request), guardOf(request.caller!)]
    return this.#settled(await this.#store.patch(this.#kind, reference, bodyObject(request), {}, guard))
  }

  readonly patchStatus: Handler = async (request) => {
    demandContentType(request, 'application/merge-patch+json')
    refuseDryRun(request)
    const options = { subresource: 'status' } as const
    return this.#store.patch(this.#kind, referenceOf(request), bodyObject(request), options, guardOf(request.caller!))
  }

  readonly delete: Handler = async (request) => {
    refuseDryRun(request)
    return this.#store.delete(this.#kind, referenceOf(request), deleteOptionsOf(request), guardOf(request.caller!))
  }

  #table(request: FastifyRequest, items: KubeObject[], metadata: object): object {
    const { includeObject } = request.query as { includeObject?: string }
    return tableOf(this.#kind, items, metadata, { includeObject, now: new Date() })
  }

  /** What was written, with what has been decided about it. */
  async #settled(written: KubeObject): Promise<KubeObject> {
    const waits = this.#controllers
      .map((each) => each.settled?.(this.#kind, written))
      .filter((wait) => wait !== undefined)
    if (waits.length === 0) return written
    await Promise.all(waits)
    const now = this.#store.reader.get(this.#kind, written.metadata)
    return now && now.metadata.uid === written.metadata.uid ? now : written
  }

  /** The object in the body, which must not contradict the path. */
  #objectOf(request: FastifyRequest): KubeObject {
    const { name, namespace } = referenceOf(request)
    const object = bodyObject(request) as unknown as KubeObject
    const metadata: unknown = object.metadata
    if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
      throw new InvalidInput('The object has no metadata', { remedy: 'Set metadata.name.' })
    }
    const own = object.metadata
    for (const [what, inPath, inBody] of [
      ['name', name, own.name],
      ['namespace', namespace, own.namespace],
    ] as const) {
      if (!inPath || inBody === undefined || inBody === inPath) continue
      throw new InvalidInput(`metadata.${what} is "${inBody}", but the path says "${inPath}"`, {
        remedy: `Correct the path or metadata.${what}.`,
      })
    }
    return { ...object, metadata: { ...own, name: own.name ?? name, ...(namespace ? { namespace } : {}) } }
  }
}

/** Tells a client that asked for it what will be answered once the disk has it. */
function answerEarly({ headers, url }: FastifyRequest, reply: FastifyReply, object: KubeObject): void {
  if (!wantsEarlyAnswer(headers)) return
  const value = encodeEarlyAnswer(object)
  if (value === undefined) return
  reply.raw.writeEarlyHints({ link: `<${url}>; rel=self`, [earlyAnswerHeader]: value })
  reply.header('etag', entityTagOf(object))
}

function referenceOf(request: FastifyRequest): ObjectReference {
  return request.params as ObjectReference
}

function deleteOptionsOf(request: FastifyRequest): DeleteOptions {
  if (request.body === undefined || request.body === null) return {}
  const { preconditions = {}, dryRun, kind = 'DeleteOptions' } = bodyObject(request)
  if (dryRun !== undefined) throw new InvalidInput('dryRun is not supported', { remedy: 'Leave dryRun out.' })
  if (kind !== 'DeleteOptions' || typeof preconditions !== 'object' || preconditions === null) {
    throw new InvalidInput('The body of a delete is not a DeleteOptions', {
      remedy: 'Send {"kind": "DeleteOptions", "preconditions": {"uid": "...", "resourceVersion": "..."}} or nothing.',
    })
  }
  const { uid, resourceVersion } = preconditions as Record<string, unknown>
  for (const [name, value] of Object.entries({ uid, resourceVersion })) {
    if (value === undefined || value === null || typeof value === 'string') continue
    throw new InvalidInput(`preconditions.${name} is not text`, { remedy: `Correct preconditions.${name}.` })
  }
  return { uid: (uid as string | null) ?? undefined, resourceVersion: (resourceVersion as string | null) ?? undefined }
}
