import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { CarbonadoError, Unavailable, type ErrorCode } from '../../base/index.ts'
import { findObject, type ResourceStore } from '../../store/index.ts'
import type { VerbContext } from '../../verb/index.ts'

/** What is seen of an object that is waited for: done, or what it is at; a problem ends the wait. */
export type Sight = { done: true } | { at: string } | { problem: CarbonadoError }

/** Milliseconds without any change until waiting ends. */
const patience = 30_000
/** Milliseconds after which it is told what is being waited for. */
const silence = 2_000
const pollInterval = 100

/** What is waited for. */
export interface Wait<T> {
  /** For people, such as `volume v1`. */
  what: string
  look: (object: T) => Sight
  /** When the object is gone; Unavailable unless told. */
  whenGone?: 'done'
}

/**
 * Waits until an object is as it is to be, telling what it is at when that takes more than two seconds. Returns it as it
 * then is; undefined when it is gone and that is what was waited for. Throws the problem that is seen, or Unavailable when
 * nothing changes for half a minute.
 */
export async function waitFor<T extends KubeObject>(
  context: VerbContext,
  store: ResourceStore,
  kind: KindDefinition<T>,
  name: string,
  { what, look, whenGone }: Wait<T>,
): Promise<T | undefined> {
  const begun = performance.now()
  let last = { text: '', since: begun, told: '' }
  for (;;) {
    const object = await findObject(store, kind, { name })
    if (!object && whenGone === 'done') return undefined
    if (!object) throw new Unavailable(`${what} was deleted meanwhile`, { remedy: 'Create it again.' })
    const sight = look(object)
    if ('done' in sight) return object
    if ('problem' in sight) throw sight.problem
    if (sight.at !== last.text) last = { ...last, text: sight.at, since: performance.now() }
    if (performance.now() - begun > silence && last.told !== sight.at) {
      context.note(`${what}: ${sight.at}`)
      last.told = sight.at
    }
    if (performance.now() - last.since > patience) {
      throw new Unavailable(`${what} has been at this for ${patience / 1000} s: ${sight.at}`, {
        remedy: 'It goes on by itself when that is possible; see `dctl event list`.',
      })
    }
    await new Promise((resolve) => setTimeout(resolve, pollInterval))
  }
}

/** Waits until an object is gone. */
export async function waitGone<T extends KubeObject & { status?: { message?: string } }>(
  context: VerbContext,
  store: ResourceStore,
  kind: KindDefinition<T>,
  { metadata: { name, uid } }: T,
  what: string,
): Promise<void> {
  await waitFor(context, store, kind, name, {
    what,
    whenGone: 'done',
    look: (object) =>
      object.metadata.uid === uid ? { at: object.status?.message ?? 'being deleted' } : { done: true },
  })
}

/** The error that a status tells of; undefined when it tells of none. */
export function problemOf(
  status: { code?: string; message?: string; remedy?: string } | undefined,
): CarbonadoError | undefined {
  if (status?.code === undefined) return undefined
  return new CarbonadoError(status.code as ErrorCode, status.message ?? 'it was refused', { remedy: status.remedy })
}
