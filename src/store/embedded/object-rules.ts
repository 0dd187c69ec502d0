import { isDeepStrictEqual } from 'node:util'
import { apiVersionOf, validate, type KindDefinition, type KubeObject, type ObjectMeta } from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import { mergePatch } from '../merge-patch.ts'
import type { DeleteOptions, ObjectReference } from '../resource-store.ts'
import { labelProblem } from '../selector.ts'

type WithStatus = KubeObject & { status?: unknown }

/** What a write makes of an object: nothing new, another state, or (the last finalizer went) its end. */
export type Outcome<T> = { result: 'unchanged' } | { result: 'changed' | 'removed'; object: T }

/** Characters of JSON; patches could otherwise make an object larger than any request. */
const largestObject = 1_500_000

/** Namespace and name of an object as it was sent. Throws InvalidInput when it has no name. */
export function referenceOf(object: KubeObject): ObjectReference {
  const { name, namespace } = metadataOf(object)
  return namespace === undefined ? { name } : { name, namespace }
}

/** The object as it is first stored. Throws InvalidInput. */
export function newObject<T extends KubeObject>(kind: KindDefinition<T>, input: T, uid: string, now: Date): T {
  const object = validate(kind, withType(kind, input))
  if (object.metadata.resourceVersion) {
    throw new InvalidInput(
      `${kind.kind} "${object.metadata.name}": metadata.resourceVersion must not be set on create`,
      {
        remedy: 'Leave metadata.resourceVersion out.',
      },
    )
  }
  checkScope(kind, object.metadata)
  checkLabels(kind, object.metadata)
  if (kind.hasStatus) delete (object as WithStatus).status
  const { deletionTimestamp: _, ...metadata } = object.metadata
  object.metadata = { ...metadata, uid, generation: 1, creationTimestamp: timestamp(now) }
  return object
}

/** The effect of replacing all but status. Throws InvalidInput, or Conflict when versions or uids differ. */
export function replaced<T extends KubeObject>(kind: KindDefinition<T>, existing: T, input: T): Outcome<T> {
  const object = validate(kind, withType(kind, input))
  checkScope(kind, object.metadata)
  checkLabels(kind, object.metadata)
  checkPreconditions(kind, existing, object.metadata)
  checkFinalizers(kind, existing.metadata, object.metadata)
  keepStatus(kind, existing, object)
  object.metadata = { ...object.metadata, ...ownedByServer(existing.metadata) }
  if (existing.metadata.deletionTimestamp === undefined) delete object.metadata.deletionTimestamp
  if (isDeepStrictEqual(object, existing)) return { result: 'unchanged' }
  if (!sameSpec(object, existing)) object.metadata.generation = (existing.metadata.generation ?? 0) + 1
  const gone = object.metadata.deletionTimestamp !== undefined && !object.metadata.finalizers?.length
  return { result: gone ? 'removed' : 'changed', object }
}

/** An object with a merge patch applied, as if it had been sent whole. Throws InvalidInput when the patch renames it. */
export function patched<T extends KubeObject>(
  kind: KindDefinition<T>,
  existing: T,
  patch: object,
  resourceVersion: string | undefined,
): T {
  const result = mergePatch(existing, patch) as T
  const metadata = metadataOf(result)
  if (metadata.name !== existing.metadata.name || metadata.namespace !== existing.metadata.namespace) {
    throw new InvalidInput(`A patch of ${kind.kind} "${existing.metadata.name}" cannot change its name or namespace`, {
      remedy: 'Create a new object and delete the old one.',
    })
  }
  if (resourceVersion === undefined) return result
  return { ...result, metadata: { ...metadata, resourceVersion } }
}

/** The effect of replacing status and nothing else. Throws InvalidInput or Conflict. */
export function withNewStatus<T extends KubeObject>(kind: KindDefinition<T>, existing: T, input: T): Outcome<T> {
  if (!kind.hasStatus) {
    throw new InvalidInput(`${kind.kind} has no status`, { remedy: 'Write the object itself.' })
  }
  checkPreconditions(kind, existing, input.metadata)
  const status = (input as WithStatus).status
  const candidate = { ...existing } as WithStatus
  if (status === undefined) delete candidate.status
  else candidate.status = status
  const object = validate(kind, candidate)
  return isDeepStrictEqual(object, existing) ? { result: 'unchanged' } : { result: 'changed', object }
}

/** The effect of a delete request: a deletionTimestamp while finalizers remain, else the end. Throws Conflict. */
export function deleted<T extends KubeObject>(
  kind: KindDefinition<T>,
  existing: T,
  options: DeleteOptions,
  now: Date,
): Outcome<T> {
  checkPreconditions(kind, existing, options)
  if (!existing.metadata.finalizers?.length) return { result: 'removed', object: structuredClone(existing) }
  if (existing.metadata.deletionTimestamp) return { result: 'unchanged' }
  const object = structuredClone(existing)
  object.metadata.deletionTimestamp = timestamp(now)
  return { result: 'changed', object }
}

/** Throws Conflict when a uid or version is asked for that the object does not have. */
function checkPreconditions(
  kind: KindDefinition,
  existing: KubeObject,
  expected: { uid?: string; resourceVersion?: string },
): void {
  const { name, uid, resourceVersion } = existing.metadata
  if (expected.uid && expected.uid !== uid) {
    throw new Conflict(
      `${kind.kind} "${name}" has uid ${uid}, not ${expected.uid}: it is another object of that name`,
      {
        remedy: 'Read the object again.',
      },
    )
  }
  if (expected.resourceVersion && expected.resourceVersion !== resourceVersion) {
    throw new Conflict(
      `${kind.kind} "${name}" was changed meanwhile: it is at version ${resourceVersion}, not ${expected.resourceVersion}`,
      { remedy: 'Read the object again, apply the change to that and retry.', details: { reason: 'VersionChanged' } },
    )
  }
}

/** Throws InvalidInput when an object is larger, as JSON, than any that is stored. */
export function checkSize(kind: KindDefinition, { metadata }: KubeObject, { length }: string): void {
  if (length <= largestObject) return
  throw new InvalidInput(
    `${kind.kind} "${metadata.name}" would have ${length} characters as JSON, at most ${largestObject} are stored`,
    { remedy: 'Make the object smaller, for example its annotations.' },
  )
}

/** The error for creating what there is. */
export function alreadyExists(kind: KindDefinition, { metadata }: KubeObject): Conflict {
  return new Conflict(`${kind.kind} "${metadata.name}" already exists`, {
    remedy: 'Choose another name, or change the existing object.',
    details: { reason: 'AlreadyExists' },
  })
}

/** The key of a reference within its kind, `NAMESPACE/NAME`. Throws InvalidInput when the scope is wrong. */
export function keyOf(kind: KindDefinition, reference: ObjectReference): string {
  checkScope(kind, reference)
  return `${reference.namespace ?? ''}/${reference.name}`
}

function checkScope(kind: KindDefinition, { name, namespace }: ObjectReference): void {
  if (kind.namespaced === (namespace !== undefined && namespace !== '')) return
  throw new InvalidInput(
    kind.namespaced
      ? `${kind.kind} "${name}" needs a namespace, none was given`
      : `${kind.kind} "${name}" is not in a namespace, but "${namespace}" was given`,
    { remedy: kind.namespaced ? 'Name a namespace.' : 'Leave the namespace out.' },
  )
}

function checkLabels(kind: KindDefinition, { name, labels = {} }: ObjectMeta): void {
  const problem = labelProblem(labels)
  if (problem === undefined) return
  throw new InvalidInput(`${kind.kind} "${name}" is not valid: metadata.labels: ${problem}`, {
    remedy: 'Use at most 63 letters, digits, "-", "_" and "."; a key may have a prefix such as example.com/.',
    details: { fields: [{ field: 'metadata.labels', message: problem }] },
  })
}

function checkFinalizers(kind: KindDefinition, before: ObjectMeta, after: ObjectMeta): void {
  if (!before.deletionTimestamp) return
  const added = (after.finalizers ?? []).filter((finalizer) => !before.finalizers?.includes(finalizer))
  if (added.length === 0) return
  throw new InvalidInput(
    `${kind.kind} "${before.name}" is being deleted: finalizer ${added.join(', ')} cannot be added`,
    {
      remedy: 'Wait until the object is gone and create it anew.',
    },
  )
}

function ownedByServer(metadata: ObjectMeta): Partial<ObjectMeta> {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp } = metadata
  return {
    name,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    ...(namespace === undefined ? {} : { namespace }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  }
}

function keepStatus(kind: KindDefinition, existing: WithStatus, object: WithStatus): void {
  if (!kind.hasStatus) return
  if (existing.status === undefined) delete object.status
  else object.status = existing.status
}

function sameSpec(one: KubeObject, other: KubeObject): boolean {
  const spec = ({ metadata: _metadata, status: _status, ...rest }: WithStatus): object => rest
  return isDeepStrictEqual(spec(one), spec(other))
}

function withType<T extends KubeObject>(kind: KindDefinition<T>, input: T): T {
  if (typeof input !== 'object' || input === null) return input
  return { ...input, apiVersion: input.apiVersion ?? apiVersionOf(kind), kind: input.kind ?? kind.kind }
}

function timestamp(now: Date): string {
  return now.toISOString().replace(/\.\d+Z$/, 'Z')
}

function metadataOf(object: KubeObject): KubeObject['metadata'] {
  const metadata = (object as Partial<KubeObject> | null)?.metadata
  if (typeof metadata === 'object' && metadata !== null && typeof metadata.name === 'string') return metadata
  throw new InvalidInput('The object has no metadata.name', { remedy: 'Set metadata.name.' })
}
