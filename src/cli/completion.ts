import type { Command, Option } from 'commander'

/** What may stand at a place of a command line: one of some words, the name of an object, or a file. */
export type Place =
  | { kind: 'words'; words: Candidate[] }
  | { kind: 'objects'; of: ObjectKind; namespace: string }
  | { kind: 'files' }
  | { kind: 'nothing' }

/** One proposal, with what it is in a few words. */
export interface Candidate {
  word: string
  says?: string
}

/**
 * Objects whose names are completed from the cluster: a group of verbs such as `perf-tier` stands for its kind. `held
 * endpoint` may also be named by its pod.
 */
export type ObjectKind = string

/** Where a command line stands: what may come next, and the global flags that lead to the cluster. */
export interface Cursor {
  place: Place
  /** By option attribute, such as `server`. */
  flags: Record<string, string | true>
}

/** What a flag's value names, by its long form. */
const valueKinds: Record<string, ObjectKind> = {
  '--network': 'network',
  '--perf-tier': 'perf-tier',
  '--node': 'node',
  '--ns': 'namespace',
  '--src': 'snapshot',
  '--src-volume': 'volume',
  '--volume': 'volume',
  '--ca-cert': 'file',
  '--dctlconfig': 'file',
  '--token-file': 'file',
}

/** Flags whose value names something else with some verbs. */
const verbValueKinds: Record<string, Record<string, ObjectKind>> = {
  'snapshot create': { '--src': 'volume' },
  'snapshot list': { '--src': 'volume' },
  'snapshot-group create': { '--src': 'volume' },
}

/** Verbs whose arguments are something else than their group's objects. */
const verbKinds: Record<string, ObjectKind> = {
  'network trace': 'held endpoint',
  'endpoint describe': 'held endpoint',
  'config set-cluster': 'nothing',
}

/** Reads a command line up to the word at the cursor, `words` without the program's name. A pure function. */
export function cursorOf(program: Command, words: string[]): Cursor {
  // bash takes --flag=value apart
  const before = words.slice(0, -1).filter((word) => word !== '=')
  const current = words.at(-1) === '=' ? '' : (words.at(-1) ?? '')
  const flags: Record<string, string | true> = {}
  let command = program
  let waiting: Option | undefined
  let position = 0
  let onlyArguments = false
  for (const word of before) {
    if (waiting) {
      flags[waiting.attributeName()] = word
      waiting = undefined
    } else if (word === '--') onlyArguments = true
    else if (word.startsWith('-') && !onlyArguments) {
      const [name, value] = splitFlag(word)
      const option = optionOf(command, name)
      if (option?.required && value === undefined) waiting = option
      else if (option) flags[option.attributeName()] = value ?? true
    } else {
      const child = position === 0 ? childOf(command, word) : undefined
      if (child) command = child
      else position++
    }
  }
  const namespace = typeof flags.ns === 'string' ? flags.ns : 'default'
  return { place: placeAt({ command, waiting, position, onlyArguments, current, namespace }), flags }
}

/** The candidates that begin with what is there already. */
export function matching(candidates: Candidate[], current: string): Candidate[] {
  return candidates.filter(({ word }) => word.startsWith(current))
}

interface Reading {
  command: Command
  /** The flag whose value comes next. */
  waiting: Option | undefined
  position: number
  onlyArguments: boolean
  current: string
  namespace: string
}

function placeAt({ command, waiting, position, onlyArguments, current, namespace }: Reading): Place {
  if (waiting) return valuePlace(waiting, namespace, { verb: verbOf(command) })
  if (current.startsWith('-') && !onlyArguments) return flagPlace(command, current, namespace)
  const children = position === 0 ? visible(command) : []
  if (children.length > 0) {
    return { kind: 'words', words: children.map((child) => ({ word: child.name(), says: child.description() })) }
  }
  return argumentPlace(command, position, namespace)
}

function valuePlace(option: Option, namespace: string, { verb = '', prefix = '' }): Place {
  if (option.argChoices) return { kind: 'words', words: option.argChoices.map((word) => ({ word: prefix + word })) }
  const flag = option.long ?? ''
  const kind = verbValueKinds[verb]?.[flag] ?? valueKinds[flag]
  if (kind === undefined) return { kind: 'nothing' }
  return kind === 'file' ? { kind: 'files' } : { kind: 'objects', of: kind, namespace }
}

function flagPlace(command: Command, current: string, namespace: string): Place {
  const [name, value] = splitFlag(current)
  const option = optionOf(command, name)
  // only words can be offered behind "=": names would have to be put together with the flag again
  if (value !== undefined)
    return option?.argChoices ? valuePlace(option, namespace, { prefix: `${name}=` }) : { kind: 'nothing' }
  const words = command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, description }) => (long ? [{ word: long, says: description }] : []))
  return { kind: 'words', words }
}

function argumentPlace(command: Command, position: number, namespace: string): Place {
  const [first] = command.registeredArguments.slice(position)
  const isRepeated = command.registeredArguments.at(-1)?.variadic ?? false
  if (!first && !isRepeated) return { kind: 'nothing' }
  if (command.name() === 'completion') return { kind: 'words', words: shells.map((word) => ({ word })) }
  const own = verbKinds[verbOf(command)]
  const kind = own ?? (command.name() === 'create' ? 'nothing' : (command.parent?.name() ?? ''))
  return kind === 'nothing' ? { kind: 'nothing' } : { kind: 'objects', of: kind, namespace }
}

/** Group and verb, such as `network trace`. */
function verbOf(command: Command): string {
  return `${command.parent?.name() ?? ''} ${command.name()}`
}

/** Shells that there is a script for. */
export const shells = ['bash', 'zsh', 'fish'] as const

function splitFlag(word: string): [name: string, value: string | undefined] {
  const at = word.indexOf('=')
  return at < 0 || !word.startsWith('--') ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)]
}

/** A flag of a command or of those above it. */
function optionOf(command: Command, name: string): Option | undefined {
  for (let at: Command | null = command; at; at = at.parent) {
    const found = at.options.find(({ short, long }) => short === name || long === name)
    if (found) return found
  }
  return undefined
}

function childOf(command: Command, word: string): Command | undefined {
  return command.commands.find((child) => child.name() === word || child.aliases().includes(word))
}

function visible(command: Command): Command[] {
  return command.createHelp().visibleCommands(command)
}
