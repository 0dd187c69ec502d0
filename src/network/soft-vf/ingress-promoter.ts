import { setTimeout as delay } from 'node:timers/promises'
import { closeBpf, isTcxSupported, openProgram, programIdentity, programsAhead, runAhead } from './bpf-system-call.ts'
import { hostInterfaceIndex } from './shaping.ts'

/** Milliseconds that an endpoint is attached before its program is put ahead: most of a storm of ADDs is over then. */
const patience = 5_000
/** Milliseconds between two, so that others who change interfaces get their turn. A new build does not wait. */
const pause = 200

/**
 * Puts the program of host ends ahead of the filters (tcx), one interface after the other, some seconds after it was
 * attached. The filter by which the program runs until then stays behind it, for when somebody takes this one away.
 * A frame that need not pass the classifier chain is spared 70 ns; but the kernel waits some 12 ms for RCU to put a
 * program there, too long for an ADD.
 */
export class IngressPromoter {
  readonly #program: number
  readonly #isAttached: (slot: number) => boolean
  readonly #due = new Map<number, number>()
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  /** `program`: its descriptor; `isAttached` tells whether a slot has an endpoint. */
  constructor(program: number, isAttached: (slot: number) => boolean) {
    this.#program = program
    this.#isAttached = isAttached
  }

  /** The endpoint in a slot is to have it in a while. */
  add(slot: number): void {
    if (!isTcxSupported() || this.#stopping.signal.aborted) return
    if (!this.#due.has(slot)) this.#due.set(slot, performance.now() + patience)
    this.#running ??= this.#run().catch(() => {}) // stopped
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const options = { signal: this.#stopping.signal, ref: false }
    for (const [slot, due] of this.#due) {
      const earlier = this.#earlierBuild(slot)
      if (earlier === undefined) await delay(Math.max(pause, due - performance.now()), undefined, options)
      this.#due.delete(slot)
      if (this.#isAttached(slot)) await this.#promote(slot, earlier)
      if (earlier !== undefined) closeBpf(earlier)
    }
    this.#running = undefined
  }

  /** An interface that goes meanwhile is no failure. */
  async #promote(slot: number, earlier: number | undefined): Promise<void> {
    const index = hostInterfaceIndex(slot)
    if (programsAhead(index).includes(programIdentity(this.#program).number)) return
    await runAhead(this.#program, index, earlier)
  }

  /** The same program as another build of this engine has put it ahead: a descriptor. */
  #earlierBuild(slot: number): number | undefined {
    const { number, name } = programIdentity(this.#program)
    for (const each of programsAhead(hostInterfaceIndex(slot))) {
      const descriptor = each === number ? undefined : openProgram(each)
      if (descriptor === undefined) continue
      if (programIdentity(descriptor).name === name) return descriptor
      closeBpf(descriptor)
    }
    return undefined
  }
}
