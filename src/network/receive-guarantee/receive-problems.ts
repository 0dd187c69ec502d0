import { formatRate, wireShare } from '../../guarantee/index.ts'

/** Milliseconds for which something must last until it is told. */
const patience = 3_000

/** What keeps a node from keeping floors for receiving; `reason` is a stable word in CamelCase. */
export interface ReceiveProblem {
  reason: string
  message: string
  remedy: string
}

/** What is looked at. */
export interface ReceiveState {
  /** Wire bits per second that may arrive while there is pressure. */
  budget: number
  /** Wire bits per second from outside the cluster. */
  outside: number
  /** Sum of the floors of the node's endpoints, and of what is kept for its other planes, in bits per second. */
  promised: number
  isUnderPressure: boolean
  /** Nodes that could not be told what they may send. */
  untold: string[]
}

/** Watches for what has lasted: a burst is nobody's problem. */
export class ReceiveProblems {
  readonly #since = new Map<string, number>()
  #problems: ReceiveProblem[] = []

  /** What has lasted at the last look. */
  get all(): ReceiveProblem[] {
    return this.#problems
  }

  /** Takes the state now, in milliseconds of a clock that never jumps; returns problems that are new. */
  look(now: number, state: ReceiveState): ReceiveProblem[] {
    const found = findReceiveProblems(state)
    const reasons = new Set(found.map(({ reason }) => reason))
    for (const reason of this.#since.keys()) if (!reasons.has(reason)) this.#since.delete(reason)
    for (const reason of reasons) if (!this.#since.has(reason)) this.#since.set(reason, now)
    const before = new Set(this.#problems.map(({ reason }) => reason))
    this.#problems = found.filter(({ reason }) => now - this.#since.get(reason)! >= patience)
    return this.#problems.filter(({ reason }) => !before.has(reason))
  }
}

/** Says what is wrong now. A pure function. */
function findReceiveProblems(state: ReceiveState): ReceiveProblem[] {
  const { budget, outside, promised, isUnderPressure, untold } = state
  const problems: ReceiveProblem[] = []
  const left = Math.max(0, budget - promised * wireShare)
  if (isUnderPressure && outside > left) {
    problems.push({
      reason: 'OutsideTrafficAboveFloors',
      message:
        `${formatRate(Math.round(outside))} arrive from outside the cluster, which cannot be held back; ` +
        `floors and other planes of this node leave ${formatRate(Math.round(left))} for it`,
      remedy: 'Shape that traffic where it enters the network, or move endpoints with floors to another node.',
    })
  }
  if (isUnderPressure && untold.length > 0) {
    problems.push({
      reason: 'SendersNotTold',
      message: `agents of nodes that send to this one cannot be told how much they may send: ${untold.join(', ')}`,
      remedy:
        'Check that their agents run, that this node reaches them, and "peers" in the configuration of all agents.',
    })
  }
  return problems
}
