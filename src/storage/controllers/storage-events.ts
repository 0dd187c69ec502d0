import { apiVersionOf, type Event, type KindDefinition, type KubeObject } from '../../api/index.ts'
import type { CarbonadoError } from '../../base/index.ts'
import type { EventRecorder } from '../../store/index.ts'

/** Tells users, through events, what went otherwise than they asked for. */
export class StorageEvents {
  readonly #recorder: EventRecorder

  constructor(recorder: EventRecorder) {
    this.#recorder = recorder
  }

  /** Something is not, or not as, it was asked for. */
  refused<T extends KubeObject>(kind: KindDefinition<T>, object: T, reason: string, error: CarbonadoError): void {
    const note = error.remedy === undefined ? error.message : `${error.message}. ${error.remedy}`
    this.#record(kind, object, 'Warning', reason, note)
  }

  /** A pool, or the metadata of its format, is nearly full. */
  filling<T extends KubeObject>(kind: KindDefinition<T>, drive: T, note: string): void {
    this.#record(kind, drive, 'Warning', 'PoolFilling', note)
  }

  #record<T extends KubeObject>(
    kind: KindDefinition<T>,
    { metadata: { name, uid } }: T,
    type: Event['type'],
    reason: string,
    note: string,
  ): void {
    const apiVersion = apiVersionOf(kind as unknown as KindDefinition)
    const regarding = { apiVersion, kind: kind.kind, name, ...(uid === undefined ? {} : { uid }) }
    this.#recorder.record({ regarding, type, reason, action: 'Decide', note })
  }
}
