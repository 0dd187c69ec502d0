import type { Pool, PoolFormat } from '../pool-format.ts'

/** What was found on a drive: a pool of a format this node knows, or none. */
export type ProbedPool = { format: PoolFormat; id: string } | undefined

/** The pools of this node by the names of their drives. No two of them have the same id. */
export class OpenPools {
  readonly #formats: PoolFormat[]
  readonly #pools = new Map<string, Pool>()
  /** Ids that were found on drives, opened or not. */
  readonly #found = new Map<string, string>()

  constructor(formats: PoolFormat[]) {
    this.#formats = formats
  }

  /** The pool of a drive, while it is open. */
  get(driveName: string): Pool | undefined {
    return this.#pools.get(driveName)
  }

  /** Names of drives with an open pool. */
  driveNames(): string[] {
    return [...this.#pools.keys()]
  }

  /** The formats of this node, in the order of preference. */
  get formats(): readonly PoolFormat[] {
    return this.#formats
  }

  /**
   * Looks for a pool on a drive and remembers its id. Throws when none is found and a format cannot tell: one whose programs
   * fail takes no pool of another format away.
   */
  async probe(driveName: string, device: string): Promise<ProbedPool> {
    const problems: unknown[] = []
    for (const format of this.#formats) {
      const id = await format.probe(device).catch((error: unknown) => void problems.push(error))
      if (id === undefined) continue
      this.#found.set(driveName, id)
      return { format, id }
    }
    if (problems.length > 0) throw problems[0]
    this.#found.delete(driveName)
    return undefined
  }

  /** Another drive of this node on which a pool of this id was found: one is a copy of the other. */
  twinOf(driveName: string, id: string): string | undefined {
    return [...this.#found].find(([other, found]) => found === id && other !== driveName)?.[0]
  }

  /** Opens the pool of a drive; the same one when it is open. */
  async open(driveName: string, format: PoolFormat, device: string): Promise<Pool> {
    const known = this.#pools.get(driveName)
    if (known) return known
    const pool = await format.open(device)
    this.#pools.set(driveName, pool)
    this.#found.set(driveName, pool.id)
    return pool
  }

  /** Lets go of the pool of a drive; what is in use there stays. */
  async close(driveName: string): Promise<void> {
    const pool = this.#pools.get(driveName)
    this.#pools.delete(driveName)
    this.#found.delete(driveName)
    await pool?.close()
  }

  async closeAll(): Promise<void> {
    for (const driveName of this.driveNames()) await this.close(driveName)
  }
}
