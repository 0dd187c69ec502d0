import type { FioJob } from './fio.ts'

/** What an array of one leg is measured with, by the name of its row. */
export const arrayLoads = {
  'an array of one leg: 4 KiB random write, depth 1': { pattern: 'randwrite', blockBytes: 4096, depth: 1 },
  'an array of one leg: 4 KiB random write, depth 32': { pattern: 'randwrite', blockBytes: 4096, depth: 32 },
  'an array of one leg: 4 KiB random read, depth 1': { pattern: 'randread', blockBytes: 4096, depth: 1 },
} satisfies Record<string, Omit<FioJob, 'seconds'>>

/** One round: requests per second of the volume as it is, and with an array of one leg above it. */
export interface ArrayRound {
  name: keyof typeof arrayLoads
  bare: number
  array: number
}
