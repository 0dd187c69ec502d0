import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { kubectlCommand } from '../../lab/kubernetes/index.ts'

/** What was seen of one pod, in milliseconds of this process's clock. */
export interface SeenPod {
  createdAt: number
  runningAt?: number
  address?: string
}

/** Follows the pods of a label and notes when each was first seen, and when it was Running. */
export class PodWatch implements AsyncDisposable {
  readonly seen = new Map<string, SeenPod>()
  readonly #child
  #waiters: (() => void)[] = []

  constructor(selector: string) {
    const columns = 'NAME:.metadata.name,PHASE:.status.phase,IP:.status.podIP'
    const args = ['get', 'pods', '-l', selector, '--watch', '--no-headers', '-o', `custom-columns=${columns}`]
    const [file, ...rest] = kubectlCommand(args)
    this.#child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#read(line))
  }

  /** Waits until so many pods are Running. Throws after `deadline` milliseconds. */
  async running(count: number, deadline: number): Promise<void> {
    const giveUp = performance.now() + deadline
    while (this.#countRunning() < count) {
      const left = giveUp - performance.now()
      if (left <= 0) throw new Error(`only ${this.#countRunning()} of ${count} pods are Running`)
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

  #countRunning(): number {
    return [...this.seen.values()].filter(({ runningAt }) => runningAt !== undefined).length
  }

  #read(line: string): void {
    const [name, phase, address] = line.trim().split(/\s+/) as [string, string, string]
    const now = performance.now()
    const pod = this.seen.get(name) ?? { createdAt: now }
    this.seen.set(name, pod)
    if (phase === 'Running') {
      pod.runningAt ??= now
      if (address !== '<none>') pod.address = address
    }
    for (const wake of this.#waiters.splice(0)) wake()
  }
}
