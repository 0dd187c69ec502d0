import { KubernetesNode, mirrorAnnotation, Pod, type KindDefinition, type KubeObject } from '../../api/index.ts'
import type { Logger } from '../../base/index.ts'
import {
  compileSelection,
  createInformer,
  InformerView,
  selectorViewOf,
  type Informer,
  type ObjectReference,
  type ResourceStore,
  type Selection,
  type SyncReader,
} from '../../store/index.ts'

/**
 * What admission reads on a cluster: a copy of the objects that is a moment behind. What must hold at every moment does
 * not rest on it: addresses are names, and what is in use has a finalizer.
 */
export class ObjectCache implements SyncReader {
  readonly #informers: Map<KindDefinition, Informer<never>>
  readonly #logger: Logger

  constructor(store: ResourceStore, kinds: KindDefinition[], logger: Logger) {
    this.#logger = logger
    this.#informers = new Map(
      kinds.map((kind) => {
        const keep = keepOf(kind)
        return [kind, createInformer(store, kind, { logger, ...keep }) as unknown as Informer<never>]
      }),
    )
  }

  /** The copy of one kind, to be told of changes; belongs to the cache. */
  informerOf<T extends KubeObject>(kind: KindDefinition<T>): Informer<T> {
    return this.#of(kind)
  }

  /** The copy of one kind for controllers that start later: at their start it has all that others wrote before. */
  viewOf<T extends KubeObject>(kind: KindDefinition<T>): Informer<T> {
    return new InformerView(this.#of(kind), kind, this.#logger)
  }

  /** Resolves once everything has been read. */
  async start(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.start()))
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()))
  }

  get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): T | undefined {
    return this.#of(kind).get(reference)
  }

  list<T extends KubeObject>(kind: KindDefinition<T>, selection: Selection = {}): T[] {
    const matches = compileSelection(kind as KindDefinition, selection) ?? (() => true)
    const items = this.#of(kind).items()
    return items.filter((object) => matches(selectorViewOf(kind as KindDefinition, object))).sort(byNamespaceAndName)
  }

  #of<T extends KubeObject>(kind: KindDefinition<T>): Informer<T> {
    return this.#informers.get(kind as KindDefinition) as unknown as Informer<T>
  }
}

function keepOf({ group, kind }: KindDefinition): { keep?: (object: KubeObject) => KubeObject } {
  if (group !== '') return {}
  if (kind === Pod.kind) return { keep: (pod) => podEssentials(pod as Pod) }
  return kind === KubernetesNode.kind ? { keep: (node) => nodeEssentials(node as KubernetesNode) } : {}
}

/** Of a node as Kubernetes sees it its images and addresses are most. */
function nodeEssentials({ metadata, spec, status }: KubernetesNode): KubernetesNode {
  const { name, uid, resourceVersion, labels } = metadata
  const { capacity, allocatable } = status ?? {}
  return {
    metadata: { name, uid, resourceVersion, ...(labels ? { labels } : {}) },
    spec: spec?.taints ? { taints: spec.taints } : {},
    status: { ...(capacity ? { capacity } : {}), ...(allocatable ? { allocatable } : {}) },
  }
}

/** What of a pod is looked at: of tens of thousands the rest would fill the memory. */
function podEssentials({ metadata, spec, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, annotations = {} } = metadata
  const own = Object.entries(annotations).filter(
    ([key]) => key === mirrorAnnotation || /^(carbonado\.io|diamanti\.com)\//.test(key),
  )
  const { nodeName, hostNetwork, containers, volumes } = spec
  return {
    metadata: {
      ...{ name, namespace, uid, resourceVersion },
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(own.length > 0 ? { annotations: Object.fromEntries(own) } : {}),
    },
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      ...(hostNetwork ? { hostNetwork } : {}),
      containers: containers.flatMap(({ name, resources }) =>
        resources?.requests ? [{ name, resources: { requests: resources.requests } }] : [],
      ),
      ...claimsIn(volumes),
    },
    status: {
      phase: status?.phase,
      conditions: status?.conditions?.filter(({ type }) => type === 'PodScheduled') ?? [],
    },
  }
}

function claimsIn(volumes: Pod['spec']['volumes']): Pick<Pod['spec'], 'volumes'> {
  const claims = volumes?.filter(({ persistentVolumeClaim, ephemeral }) => persistentVolumeClaim ?? ephemeral) ?? []
  if (claims.length === 0) return {}
  return {
    volumes: claims.map(({ name, persistentVolumeClaim }) =>
      persistentVolumeClaim ? { name, persistentVolumeClaim } : { name, ephemeral: {} },
    ),
  }
}

function byNamespaceAndName(one: KubeObject, other: KubeObject): number {
  const key = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`
  return key(one) < key(other) ? -1 : 1
}
