import { spawn, type ChildProcess } from 'node:child_process'
import { Internal } from '../../base/index.ts'

/** A command of a batch that the kernel refused. */
export interface BatchFailure {
  command: string
  message: string
}

interface Job {
  commands: string[]
  output: string
  resolve: (failures: BatchFailure[]) => void
  reject: (error: Error) => void
}

const deadline = 10_000

/**
 * A long-lived `ip -batch -` or `tc -batch -`: starting one costs milliseconds, a command in a running one a tenth.
 * After the commands of a job a harmless query is asked; when its answer is seen, all before it has been done.
 * Errors and answers share one pipe, so that they cannot overtake each other.
 */
export class BatchProcess {
  readonly #program: string[]
  readonly #query: string
  readonly #answer: RegExp
  #child: ChildProcess | undefined
  #line = 0
  readonly #jobs: Job[] = []
  #busy = false

  private constructor(program: string[], query: string, answer: RegExp) {
    this.#program = program
    this.#query = query
    this.#answer = answer
  }

  static ip(): BatchProcess {
    return new BatchProcess(['ip', '-force', '-batch', '-'], 'link show dev lo', /^\s+link\/loopback .*\n/m)
  }

  static tc(): BatchProcess {
    return new BatchProcess(['tc', '-force', '-batch', '-'], 'qdisc show dev lo', /^qdisc noqueue .*\n/m)
  }

  /** Runs commands in order; each that fails is reported and does not stop the others. Throws Internal when the process dies. */
  run(commands: string[]): Promise<BatchFailure[]> {
    if (commands.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      this.#jobs.push({ commands, output: '', resolve, reject })
      this.#next()
    })
  }

  /** Runs commands that must all succeed. Throws Internal with what the kernel said. */
  async must(commands: string[]): Promise<void> {
    const [failure] = await this.run(commands)
    if (failure) throw new Internal(`${this.#program[0]} ${failure.command}: ${failure.message}`)
  }

  /** Ends the process; jobs that still run fail. */
  stop(): void {
    this.#child?.stdin?.end()
    this.#child = undefined
  }

  #next(): void {
    const job = this.#jobs[0]
    if (!job || this.#busy) return
    this.#busy = true
    const child = (this.#child ??= this.#start())
    const timer = setTimeout(() => child.kill('SIGKILL'), deadline)
    const finish = (): void => {
      clearTimeout(timer)
      this.#busy = false
      this.#jobs.shift()
      child.removeListener('close', onClose)
      child.stdout!.removeListener('data', onData)
    }
    const onClose = (): void => {
      finish()
      this.#child = undefined
      job.reject(new Internal(`${this.#program.join(' ')} ended: ${job.output.trim()}`))
      this.#next()
    }
    const onData = (part: Buffer): void => {
      job.output += part.toString()
      if (!this.#answer.test(job.output)) return
      finish()
      job.resolve(this.#failures(job))
      this.#line += job.commands.length + 1
      this.#next()
    }
    child.once('close', onClose)
    child.stdout!.on('data', onData)
    child.stdin!.write([...job.commands, this.#query, ''].join('\n'))
  }

  #start(): ChildProcess {
    this.#line = 0
    const child = spawn('sh', ['-c', 'exec "$@" 2>&1', 'sh', ...this.#program], {
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    child.stdin.on('error', () => {}) // its end is seen as 'close'
    child.on('error', () => {})
    return child
  }

  #failures(job: Job): BatchFailure[] {
    const failures: BatchFailure[] = []
    let message: string[] = []
    for (const line of job.output.split('\n')) {
      const failed = /^Command failed -:(\d+)$/.exec(line)
      if (!failed) {
        message.push(line)
        continue
      }
      const command = job.commands[Number(failed[1]) - this.#line - 1] ?? '?'
      failures.push({ command, message: message.join(' ').trim() })
      message = []
    }
    return failures
  }
}
