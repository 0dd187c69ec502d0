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

/** Milliseconds after which a pod that was told why is looked at again, and more for each that waits beside it. */
const lookAgain = 2_000
const perWaiting = 20
/** Milliseconds before the scheduler is asked again to try; doubles up to what it waits by itself. */
const firstRetry = 5_000
const longestRetry = 300_000

/** What pods that have no node are told with. */
export interface UnschedulableEventsParts {
  podOf: (reference: ObjectReference) => Pod | undefined
  facts: SchedulingFacts
  recorder: EventRecorder
  /** Has the scheduler try again: it hears of pods and nodes, and of nothing else that makes room. */
  tryAgain: () => Promise<void>
}

/**
 * Tells in events of a pod that has no node why, with the numbers that the scheduler itself does not give, and has the
 * scheduler try again when the reason is gone.
 */
export class UnschedulableEvents {
  readonly #parts: UnschedulableEventsParts
  /** What was told last, by the pod's uid. */
  readonly #told = new Map<string, string>()
  /** How often the scheduler was asked to try again since then. */
  readonly #tries = new Map<string, number>()

  constructor(parts: UnschedulableEventsParts) {
    this.#parts = parts
  }

  /** Looks at one pod, by namespace, name and uid. */
  async reconcile(reference: Required<ObjectReference>, uid: string): Promise<ReconcileResult> {
    const pod = this.#parts.podOf(reference)
    if (pod?.metadata.uid !== uid || !isUnschedulable(pod)) {
      this.#told.delete(uid)
      this.#tries.delete(uid)
      return { done: true }
    }
    const why = this.#why(pod)
    if (why !== undefined) {
      this.#tries.delete(uid)
      if (this.#told.get(uid) !== why) this.#tell(pod, uid, why)
      return { requeueAfter: lookAgain + this.#told.size * perWaiting }
    }
    return this.#told.has(uid) ? this.#tryAgain(uid) : { done: true }
  }

  /** Another replica may answer the scheduler, and not know yet that there is room. */
  async #tryAgain(uid: string): Promise<ReconcileResult> {
    const tries = this.#tries.get(uid) ?? 0
    this.#tries.set(uid, tries + 1)
    await this.#parts.tryAgain()
    return { requeueAfter: Math.min(longestRetry, firstRetry * 2 ** tries) }
  }

  #tell(pod: Pod, uid: string, why: string): void {
    this.#told.set(uid, why)
    const { namespace, name } = pod.metadata
    const regarding = { apiVersion: apiVersionOf(Pod), kind: Pod.kind, namespace, name, uid }
    this.#parts.recorder.record({ regarding, type: 'Warning', reason: 'DoesNotFit', action: 'Schedule', note: why })
  }

  #why(pod: Pod): string | undefined {
    try {
      return whyNowhere(this.#parts.facts.demandOf(pod), this.#parts.facts.allNodes())
    } catch (error) {
      if (error instanceof CarbonadoError) return error.message
      throw error
    }
  }
}
