import { apiVersionOf, type KindDefinition, type KubeObject } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import type {
  CreateOptions,
  DeleteOptions,
  ListOptions,
  ObjectList,
  ObjectReference,
  PatchOptions,
  ResourceStore,
  WatchEvent,
  WatchOptions,
} from '../resource-store.ts'
import { readJsonLines } from './json-lines.ts'
import { collectionPath, objectPath, queryString } from './resource-path.ts'
import { RestClient, type RestOptions } from './rest-client.ts'
import { errorOf, type Status } from './status.ts'

interface ListAnswer<T> {
  items: T[] | null
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number }
}

const watchSeconds = 600

/** A ResourceStore that is a client of control or of any other Kubernetes-style server. */
export class RestStore implements ResourceStore {
  readonly #client: RestClient

  /** Opens no connection yet. Throws InvalidInput for a server or files that cannot be right. */
  constructor(options: RestOptions) {
    this.#client = new RestClient(options)
  }

  /** GETs any path of the server and returns the JSON it answers. */
  getJson<T>(path: string, headers?: Record<string, string>): Promise<T> {
    return this.#client.json<T>({ method: 'GET', path, headers })
  }

  /** GETs any path of the server and returns the body as it comes. Throws what the server's Status says. */
  getStream(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#client.stream(path, signal)
  }

  /** Sends a request that is not about a kind, such as a review, and returns the JSON that is answered. */
  request<T>(method: 'POST' | 'DELETE', path: string, body?: object, headers?: Record<string, string>): Promise<T> {
    return this.#client.json<T>({ method, path, body, headers })
  }

  /**
   * Tells the server that a request is about to come: its process and this one's way to it have woken when it does, which
   * takes tenths of a millisecond from a call that waits for the answer. Nothing where there is no connection yet.
   */
  wake(): void {
    this.#client.wake()
  }

  async get<T extends KubeObject>(kind: KindDefinition<T>, { name, namespace }: ObjectReference): Promise<T> {
    return this.#client.json<T>({ method: 'GET', path: objectPath(kind, name, namespace) })
  }

  async list<T extends KubeObject>(kind: KindDefinition<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    const { namespace, ...query } = options
    const path = collectionPath(kind, namespace) + queryString({ ...query })
    const { items, metadata } = await this.#client.json<ListAnswer<T>>({ method: 'GET', path })
    return {
      items: (items ?? []).map((item) => withType(kind, item)),
      resourceVersion: metadata.resourceVersion,
      ...(metadata.continue ? { continue: metadata.continue } : {}),
      ...(metadata.remainingItemCount ? { remainingItemCount: metadata.remainingItemCount } : {}),
    }
  }

  async *watch<T extends KubeObject>(
    kind: KindDefinition<T>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void> {
    const { signal, namespace, allowBookmarks, ...query } = options
    const stop = new AbortController()
    const end = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
    // Bookmarks are always asked for: while nothing changes they tell that the connection is alive.
    const parameters = { ...query, watch: true, allowWatchBookmarks: true, timeoutSeconds: watchSeconds }
    try {
      if (end.aborted) return
      const stream = await this.#client.stream(collectionPath(kind, namespace) + queryString(parameters), end)
      for await (const line of readJsonLines(stream)) {
        const event = eventOf<T>(kind, line)
        if (event.type !== 'BOOKMARK' || allowBookmarks) yield event
        if (end.aborted) return
      }
    } catch (error) {
      if (!end.aborted) throw this.#client.unavailable(error)
    } finally {
      stop.abort()
    }
  }

  async create<T extends KubeObject>(
    kind: KindDefinition<T>,
    object: T,
    { onEarlyAnswer }: CreateOptions<T> = {},
  ): Promise<T> {
    const { namespace } = metadataOf(object)
    objectPath(kind, object.metadata.name, namespace) // refuses a missing or surplus namespace
    const path = collectionPath(kind, namespace)
    const early = onEarlyAnswer && { onEarlyAnswer: (likely: unknown) => onEarlyAnswer(likely as T) }
    return this.#client.json<T>({ method: 'POST', path, body: withType(kind, object), ...early })
  }

  async update<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T> {
    return this.#put(kind, object, '')
  }

  async updateStatus<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T> {
    return this.#put(kind, object, '/status')
  }

  async patch<T extends KubeObject>(
    kind: KindDefinition<T>,
    { name, namespace }: ObjectReference,
    patch: object,
    options: PatchOptions = {},
  ): Promise<T> {
    const path = objectPath(kind, name, namespace) + (options.subresource ? `/${options.subresource}` : '')
    const body = options.resourceVersion === undefined ? patch : withVersion(patch, options.resourceVersion)
    return this.#client.json<T>({ method: 'PATCH', path, body, contentType: 'application/merge-patch+json' })
  }

  /** A server that answers a Status instead of the last state leaves the caller with the object's name and uid. */
  async delete<T extends KubeObject>(
    kind: KindDefinition<T>,
    { name, namespace }: ObjectReference,
    { uid, resourceVersion }: DeleteOptions = {},
  ): Promise<T> {
    const preconditions = { uid, resourceVersion }
    const answer = await this.#client.json<T | (Status & { details?: { uid?: string } })>({
      method: 'DELETE',
      path: objectPath(kind, name, namespace),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', ...(uid || resourceVersion ? { preconditions } : {}) },
    })
    if (answer.kind !== 'Status') return answer as T
    return withType(kind, {
      metadata: { name, namespace, uid: (answer as { details?: { uid?: string } }).details?.uid },
    } as T)
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  #put<T extends KubeObject>(kind: KindDefinition<T>, object: T, subresource: string): Promise<T> {
    const { name, namespace } = metadataOf(object)
    const path = objectPath(kind, name, namespace) + subresource
    return this.#client.json<T>({ method: 'PUT', path, body: withType(kind, object) })
  }
}

function metadataOf(object: KubeObject): KubeObject['metadata'] {
  const metadata = (object as Partial<KubeObject> | null)?.metadata
  if (typeof metadata === 'object' && metadata !== null) return metadata
  throw new InvalidInput('The object has no metadata.name', { remedy: 'Set metadata.name.' })
}

/** Items of lists carry no type with some servers, and callers need not give one. */
function withType<T extends KubeObject>(kind: KindDefinition<T>, object: T): T {
  return { ...object, apiVersion: object.apiVersion ?? apiVersionOf(kind), kind: object.kind ?? kind.kind }
}

function withVersion(patch: object, resourceVersion: string): object {
  return { ...patch, metadata: { ...(patch as { metadata?: object }).metadata, resourceVersion } }
}

function eventOf<T extends KubeObject>(kind: KindDefinition<T>, line: unknown): WatchEvent<T> {
  const { type, object } = line as { type: string; object: T }
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type, object: withType(kind, object) }
    case 'BOOKMARK':
      return { type, resourceVersion: object.metadata.resourceVersion! }
    default:
      throw errorOf((object as { code?: number } | undefined)?.code ?? 500, object)
  }
}
