import { apiVersionOf, Pod } from '../../../api/index.ts'
import { CarbonadoError, type ReconcileResult } from '../../../base/index.ts'
import { requestedBy } from '../../../network/pods/index.ts'
import type { EventRecorder, ObjectReference } from '../../../store/index.ts'
import { whyNowhere } from './decision.ts'
import type { SchedulingFacts } from './demand.ts'

/** Whether the scheduler has said that a pod with our requests fits nowhere. */
export function isUnschedulable(pod: Pod): boolean {
  if (pod.spec.nodeName !== undefined || requestedBy(pod).interfaces === 0) return false
  return (pod.status?.conditions ?? []).some(
    ({ type, status, reason }) => type === 'PodScheduled' && status === 'False' && reason === 'Unschedulable',
  )
}

/** Tells in events of a pod that has no node why, with the numbers that the scheduler itself does not give. */
export class UnschedulableEvents {
  readonly #podOf: (reference: ObjectReference) => Pod | undefined
  readonly #facts: SchedulingFacts
  readonly #recorder: EventRecorder
  /** What was told last, by the pod's uid. */
  readonly #told = new Map<string, string>()

  constructor(podOf: (reference: ObjectReference) => Pod | undefined, facts: SchedulingFacts, recorder: EventRecorder) {
    this.#podOf = podOf
    this.#facts = facts
    this.#recorder = recorder
  }

  /** Looks at one pod, by namespace, name and uid. */
  reconcile(reference: Required<ObjectReference>, uid: string): Promise<ReconcileResult> {
    const pod = this.#podOf(reference)
    if (pod?.metadata.uid !== uid || !isUnschedulable(pod)) this.#told.delete(uid)
    else this.#tell(pod, uid)
    return Promise.resolve({ done: true })
  }

  #tell(pod: Pod, uid: string): void {
    const why = this.#why(pod)
    if (why === undefined || this.#told.get(uid) === why) return
    this.#told.set(uid, why)
    const { namespace, name } = pod.metadata
    const regarding = { apiVersion: apiVersionOf(Pod), kind: Pod.kind, namespace, name, uid }
    this.#recorder.record({ regarding, type: 'Warning', reason: 'DoesNotFit', action: 'Schedule', note: why })
  }

  #why(pod: Pod): string | undefined {
    try {
      return whyNowhere(this.#facts.demandOf(pod), this.#facts.allNodes())
    } catch (error) {
      if (error instanceof CarbonadoError) return error.message
      throw error
    }
  }
}
