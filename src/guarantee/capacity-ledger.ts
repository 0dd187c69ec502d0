import { fit, nothing, resources, sumOf, type Amounts, type Fit } from './capacity.ts'

/** One promise: what was promised to whom on which node. */
export interface Promised {
  nodeName: string
  amounts: Amounts
}

/**
 * Who was promised what on which node (of a drive's ledger: on which drive), in memory; a view that is rebuilt from the
 * store at start.
 * `promise` checks and records in one synchronous step, so that requests that are decided side by side cannot
 * overcommit a node.
 */
export class CapacityLedger {
  readonly #promises = new Map<string, Promised>()
  readonly #sums = new Map<string, Amounts>()
  readonly #onChange: (nodeName: string) => void

  /** `onChange` is told each node whose sums changed. */
  constructor(onChange: (nodeName: string) => void = () => {}) {
    this.#onChange = onChange
  }

  /** What `owner` (an endpoint's uid) was promised, if anything. */
  of(owner: string): Promised | undefined {
    return this.#promises.get(owner)
  }

  /** The sum of everything promised on a node. */
  promisedOn(nodeName: string): Amounts {
    return { ...(this.#sums.get(nodeName) ?? nothing) }
  }

  /**
   * Promises `amounts` to the owner on the node when they fit into `total`; what the owner had before, there or on
   * another node, is given back in the same step. When they do not fit nothing changes. Less than it has there always
   * fits: a link that has become slower than its promises must not keep anybody from asking for less.
   */
  promise(owner: string, nodeName: string, amounts: Amounts, total: Amounts): Fit {
    const own = this.#promises.get(owner)
    const others = this.promisedOn(nodeName)
    if (own?.nodeName === nodeName) for (const resource of resources) others[resource] -= own.amounts[resource]
    const asksForLess = own?.nodeName === nodeName && resources.every((each) => amounts[each] <= own.amounts[each])
    const result: Fit = asksForLess ? { fits: true } : fit(amounts, { total, promised: others })
    if (result.fits) this.record(owner, nodeName, amounts)
    return result
  }

  /** Records a promise that was made earlier, whether or not it still fits. */
  record(owner: string, nodeName: string, amounts: Amounts): void {
    this.release(owner)
    this.#promises.set(owner, { nodeName, amounts: { ...amounts } })
    this.#sums.set(nodeName, sumOf([this.promisedOn(nodeName), amounts]))
    this.#onChange(nodeName)
  }

  /** Gives back what the owner was promised. */
  release(owner: string): void {
    const own = this.#promises.get(owner)
    if (!own) return
    this.#promises.delete(owner)
    const sum = this.promisedOn(own.nodeName)
    for (const resource of resources) sum[resource] -= own.amounts[resource]
    this.#sums.set(own.nodeName, sum)
    this.#onChange(own.nodeName)
  }
}
