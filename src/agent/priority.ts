import { readdirSync } from 'node:fs'
import { setPriority } from 'node:os'
import type { Logger } from '../base/index.ts'

/** The agent works for some microseconds at a time; what waits for it then are floors of the whole node. */
const niceValue = -20

/**
 * Puts this process, with the threads it has, before all others in the queue for processors; `exec` does not pass it on.
 * When the kernel refuses, that is only logged.
 */
export function raisePriority(logger: Logger): void {
  try {
    for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), niceValue)
  } catch (error) {
    logger.warn({ err: error }, 'the agent runs with the priority of any process, and may react late under load')
  }
}
