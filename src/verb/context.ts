import type { Command } from 'commander'
import type { ResourceStore } from '../store/index.ts'

/** How a verb prints what it found: tables (`wide` with more columns), or API objects. */
export const outputFormats = ['simple', 'wide', 'json', 'yaml'] as const
export type OutputFormat = (typeof outputFormats)[number]

/** What a verb works with: the cluster, the terminal and the time. Made anew for each run of a verb. */
export interface VerbContext {
  readonly output: OutputFormat
  /** The cluster's objects; connects on first use. Throws InvalidInput when no server is known. */
  store(): Promise<ResourceStore>
  /** GETs a path of a node's agent through control, such as `v1/endpoints`, and parses the JSON it answers. */
  readAgent<T>(nodeName: string, path: string): Promise<T>
  /** Lets a node's agent do something through control: POSTs JSON to one of its paths and parses the answer. */
  askAgent<T>(nodeName: string, path: string, body: object): Promise<T>
  /** GETs a path of control that serves no kind, such as its tokens, or sends JSON there; parses the answer. */
  request<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T>
  /** Writes one text to standard output, with a line end. */
  print(text: string): void
  /** Writes one remark to standard error, so that output stays data. */
  note(text: string): void
  /**
   * Asks before something is destroyed; returns when the answer is yes or `assumeYes` is set.
   * Throws for no, which ends dctl with exit code 1, and InvalidInput when there is nobody to ask (no terminal).
   */
  confirm(question: string, assumeYes: boolean | undefined): Promise<void>
  now(): Date
}

/** Does the work of one verb. A number returned is the exit code; none is 0. */
export type VerbHandler<Options> = (
  context: VerbContext,
  names: string[],
  options: Options,
  command: Command,
) => Promise<void | number>

/** Given to a feature when it adds its verbs to the program. */
export interface VerbHost {
  /** Makes a commander action of a handler: opens a context, runs, closes it and keeps the exit code. */
  run<Options extends object>(handler: VerbHandler<Options>): (...parameters: unknown[]) => Promise<void>
}
