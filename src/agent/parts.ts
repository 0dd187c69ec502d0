import type { Logger } from '../base/index.ts'

/** A part of the program with a life of its own. */
export interface Part {
  name: string
  start(): Promise<void> | void
  stop(): Promise<void> | void
}

/**
 * Starts parts in the order given, which is that of their dependencies, and stops them in the reverse order. When one
 * cannot start, those before it are stopped and the error is thrown. Stopping goes on past a part that fails to.
 */
export async function startParts(parts: Part[], logger: Logger): Promise<{ stop: () => Promise<void> }> {
  const started: Part[] = []
  const stop = async (): Promise<void> => {
    for (const part of started.splice(0).reverse()) {
      try {
        await part.stop()
      } catch (error) {
        logger.error({ err: error, part: part.name }, 'a part did not stop as it should')
      }
    }
  }
  for (const part of parts) {
    try {
      await part.start()
      started.push(part)
    } catch (error) {
      await stop()
      throw error
    }
  }
  return { stop }
}
