import { apiVersionOf, Endpoint, Network, type KindDefinition, type KubeObject } from '../../api/index.ts'
import type { Event } from '../../api/index.ts'
import type { CarbonadoError } from '../../base/index.ts'
import type { EventRecorder } from '../../store/index.ts'

/** Tells users, through events, why an endpoint did not get what it asked for. */
export class EndpointEvents {
  readonly #recorder: EventRecorder

  constructor(recorder: EventRecorder) {
    this.#recorder = recorder
  }

  /** An endpoint was refused; with `network`, because that network had nothing for it. */
  refused(endpoint: Endpoint, error: CarbonadoError, network?: Network): void {
    this.#record(regarding(Endpoint, endpoint), 'EndpointRefused', 'Allocate', error)
    if (network && error.code === 'Exhausted') {
      this.#record(regarding(Network, network), 'AddressesExhausted', 'Allocate', error)
    }
  }

  /** An attached endpoint keeps its earlier rates because the new ones cannot be had on its node. */
  reshapeRefused(endpoint: Endpoint, error: CarbonadoError): void {
    this.#record(regarding(Endpoint, endpoint), 'ReshapeRefused', 'Reshape', error)
  }

  #record(about: Event['regarding'], reason: string, action: string, { message, remedy }: CarbonadoError): void {
    const note = remedy === undefined ? message : `${message}. ${remedy}`
    this.#recorder.record({ regarding: about, type: 'Warning', reason, action, note })
  }
}

/** What an event is about. */
export function regarding(kind: KindDefinition<never> | KindDefinition, { metadata }: KubeObject): Event['regarding'] {
  const { namespace, name, uid } = metadata
  return {
    apiVersion: apiVersionOf(kind as KindDefinition),
    kind: kind.kind,
    ...(namespace === undefined ? {} : { namespace }),
    name,
    ...(uid === undefined ? {} : { uid }),
  }
}
