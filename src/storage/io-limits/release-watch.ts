import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../base/index.ts'

/** Seconds after the agent's death until nobody is held back any more; the next agent comes sooner, as a rule. */
const grace = 10
/** Milliseconds until it is tried again when the watch could not be started. */
const startAgainAfter = 1000

/**
 * Waits until the agent has gone, which closes standard input, and some time more. Then, unless another agent has taken
 * over meanwhile, it writes the rules down as they are in the file. It leaves the cgroups of the agent first: where those
 * of a container end together, it would end too.
 */
const script = `
  for root in "$4"/*/cgroup.procs "$4"/cgroup.procs; do echo $$ > "$root"; done 2>/dev/null
  read -r _
  sleep "$3"
  [ "$(cat "$1/keeper" 2>/dev/null)" = "$2" ] || exit 0
  while IFS='	' read -r file rule; do echo "$rule" > "$file"; done < "$1/rules" 2>/dev/null
`

/**
 * Sees to it that limits do not outlive the agent for long: a process of its own that removes them when the agent has died
 * and no other one has come.
 */
export class ReleaseWatch {
  readonly #folder: string
  readonly #logger: Logger
  readonly #graceSeconds: number
  #child: ChildProcess | undefined
  #rules = ''
  #isKeeper = false

  constructor(stateDirectory: string, logger: Logger, graceSeconds = grace) {
    this.#folder = join(stateDirectory, 'io-limits')
    this.#logger = logger
    this.#graceSeconds = graceSeconds
  }

  /** Says that limits are this process's now; the watch of an earlier agent will leave them alone. */
  takeOver(): void {
    if (this.#isKeeper) return
    this.#isKeeper = true
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    this.#replace('keeper', this.#name)
  }

  /** Takes what is to be written when the agent dies; before the limits themselves. */
  update(rules: { file: string; rule: string }[]): void {
    const text = rules.map(({ file, rule }) => `${file}\t${rule}\n`).join('')
    if (text === this.#rules) return
    this.#replace('rules', text)
    this.#rules = text
    this.#start()
  }

  /** Ends the watch; for who has removed the limits. */
  stop(): void {
    this.#rules = ''
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  get #name(): string {
    return `${process.pid} ${performance.timeOrigin}`
  }

  #start(): void {
    if (this.#child || this.#rules === '') return
    const words = [this.#folder, this.#name, String(this.#graceSeconds), '/sys/fs/cgroup']
    try {
      const child = spawn('sh', ['-c', script, 'release-watch', ...words], {
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
      })
      this.#child = child
      child.on('error', (error) => this.#startLater(child, error))
      child.on('exit', () => {
        if (this.#child !== child) return
        this.#child = undefined
        this.#start()
      })
      child.unref()
      ;(child.stdin as unknown as { unref?: () => void } | null | undefined)?.unref?.()
    } catch (error) {
      this.#startLater(undefined, error)
    }
  }

  #startLater(child: ChildProcess | undefined, error: unknown): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#logger.warn({ err: error }, 'limits of I/O would outlive this agent: no watch; trying again')
    setTimeout(() => this.#start(), startAgainAfter).unref()
  }

  #replace(file: string, text: string): void {
    const path = join(this.#folder, file)
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}
