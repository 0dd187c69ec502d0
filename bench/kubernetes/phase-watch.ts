import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { kubectlCommand } from '../../lab/kubernetes/index.ts'

/** What was seen of one object, in milliseconds of this process's clock. */
export interface SeenObject {
  createdAt: number
  reachedAt?: number
}

/** What is followed: objects of a label, until they are in a phase, such as pods until they are Running. */
export interface PhaseWatchOptions {
  resource: string
  selector: string
  phase: string
}

/** Follows objects and notes when each was first seen, and when it reached a phase. */
export class PhaseWatch implements AsyncDisposable {
  readonly seen = new Map<string, SeenObject>()
  readonly #options: PhaseWatchOptions
  readonly #child
  #waiters: (() => void)[] = []

  constructor(options: PhaseWatchOptions) {
    this.#options = options
    const columns = 'NAME:.metadata.name,PHASE:.status.phase'
    const which = [options.resource, '-l', options.selector]
    const args = ['get', ...which, '--watch', '--no-headers', '-o', `custom-columns=${columns}`]
    const [file, ...rest] = kubectlCommand(args)
    this.#child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#read(line))
  }

  /** Waits until so many objects are in the phase. Throws after `deadline` milliseconds. */
  async reached(count: number, deadline: number): Promise<void> {
    const giveUp = performance.now() + deadline
    while (this.#count() < count) {
      const left = giveUp - performance.now()
      const { resource, phase } = this.#options
      if (left <= 0) throw new Error(`only ${this.#count()} of ${count} ${resource} are ${phase}`)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiters.push(resolve)
      const timer = setTimeout(resolve, left)
      await promise
      clearTimeout(timer)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill()
    await once(this.#child, 'exit')
  }

  #count(): number {
    return [...this.seen.values()].filter(({ reachedAt }) => reachedAt !== undefined).length
  }

  #read(line: string): void {
    const [name, phase] = line.trim().split(/\s+/) as [string, string]
    const now = performance.now()
    const object = this.seen.get(name) ?? { createdAt: now }
    this.seen.set(name, object)
    if (phase === this.#options.phase) object.reachedAt ??= now
    for (const wake of this.#waiters.splice(0)) wake()
  }
}
