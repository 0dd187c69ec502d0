import { isDeepStrictEqual } from 'node:util'
import type { FoundUplink, Node } from '../api/index.ts'
import { regularly, type Logger, type Regular } from '../base/index.ts'
import {
  findUplinks,
  kernelFiles,
  linkFingerprint,
  readLinkFacts,
  readLinkPlaces,
  speedFiles,
  type FactsOf,
  type FileTree,
  type LinkFacts,
  type LinkPlace,
} from '../network/uplinks/index.ts'
import type { Part } from './parts.ts'

/** Settings of the monitor. */
export interface UplinkMonitorOptions {
  spec: Node['spec']
  /** Called when what was found differs from what it was, soon after; a failure is logged and tried again. */
  onChange: (found: FoundUplink[]) => Promise<void>
  logger: Logger
  /** Milliseconds between looks; 500 unless told. */
  interval?: number
  /** Where the kernel is looked at; this machine unless told. */
  tree?: FileTree
}

interface Seen {
  found: FoundUplink[]
  /** Of the uplink of pods: another one under the same name is another device. */
  index: number
}

/** Looks for each look at which devices belong together, and for each at the speeds: both cost more. */
const looksPer = { places: 2, speeds: 4 } as const

/**
 * Watches the uplinks of the node: carrier, speed, MTU, members of bonds. It asks the kernel twice a second instead of
 * listening to it, because what is missed by a listener stays wrong, and asking is cheap.
 */
export class UplinkMonitor implements Part {
  readonly name = 'uplink monitor'
  readonly #options: UplinkMonitorOptions
  readonly #tree: FileTree
  #spec: Node['spec']
  #seen: Seen
  /** What was last handed on; undefined when handing it on has failed. */
  #told: Seen | undefined
  #isFailing = false
  #places = new Map<string, LinkPlace>()
  #fingerprint = ''
  #looks = 0
  #speeds = ''
  #readingSpeeds: Promise<void> = Promise.resolve()
  #looking: Regular | undefined
  #telling: Promise<void> = Promise.resolve()

  constructor(options: UplinkMonitorOptions) {
    this.#options = options
    this.#tree = options.tree ?? kernelFiles
    this.#spec = options.spec
    this.#seen = this.#told = this.#read()
  }

  /** The uplinks as last seen; that of pods is always there. */
  get found(): FoundUplink[] {
    return this.#seen.found
  }

  start(): void {
    this.#looking ??= regularly(
      () => this.#look(),
      this.#options.interval ?? 500,
      (error) => this.#noteFailure(error),
    )
  }

  async stop(): Promise<void> {
    await this.#looking?.stop()
    await this.#readingSpeeds
    await this.#telling
  }

  /** Looks by another spec from now on, and at once. */
  follow(spec: Node['spec']): void {
    this.#spec = spec
    this.#told = undefined // what is kept for planes may differ where the links do not
    this.#seen = this.#read()
    this.#tell()
  }

  #look(): void {
    this.#looks += 1
    if (this.#looks % looksPer.places === 0) this.#places = readLinkPlaces(this.#tree, this.#places.keys())
    const fingerprint = linkFingerprint(this.#tree, this.#places)
    if (fingerprint !== this.#fingerprint) {
      this.#fingerprint = fingerprint // of before: what changes while it is read is read again
      this.#seen = this.#read()
    }
    this.#tell()
    if (this.#looks % looksPer.speeds !== 0) return
    this.#readingSpeeds = this.#readingSpeeds
      .then(() => this.#lookAtSpeeds())
      .catch((error: unknown) => this.#noteFailure(error))
  }

  /** A speed can change without anything else. */
  async #lookAtSpeeds(): Promise<void> {
    const files = speedFiles(this.#places)
    const speeds = (await Promise.all(files.map((file) => this.#tree.readLater(file)))).join(' ')
    if (speeds === this.#speeds) return
    this.#speeds = speeds
    this.#seen = this.#read()
    this.#tell()
  }

  #read(): Seen {
    const known = new Map<string, LinkFacts>()
    const factsOf: FactsOf = (name) => {
      if (!known.has(name)) known.set(name, readLinkFacts(this.#tree, name))
      return known.get(name)!
    }
    const found = findUplinks(this.#spec, factsOf)
    const devices = [...known.values()].flatMap(({ name, bond }) => [name, ...(bond?.members ?? []).map((member) => member.name)]) // prettier-ignore
    this.#places = readLinkPlaces(this.#tree, devices)
    return { found, index: factsOf(this.#spec.uplinks.pods.interface).index }
  }

  #tell(): void {
    if (this.#seen === this.#told || isDeepStrictEqual(this.#seen, this.#told)) return
    const news = (this.#told = this.#seen)
    this.#telling = this.#telling.then(() => this.#handOn(news))
  }

  async #handOn(news: Seen): Promise<void> {
    try {
      await this.#options.onChange(news.found)
      this.#isFailing = false
    } catch (error) {
      this.#noteFailure(error)
      if (this.#told === news) this.#told = undefined // tried again at the next look
    }
  }

  #noteFailure(error: unknown): void {
    if (!this.#isFailing) this.#options.logger.error({ err: error }, 'a change of the uplinks could not be taken over')
    this.#isFailing = true
  }
}
