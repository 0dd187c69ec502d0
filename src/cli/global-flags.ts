import { Option, type Command } from 'commander'
import { durationFlag, outputFormats, type OutputFormat } from '../verb/index.ts'

/** Flags that every verb takes. */
export interface GlobalOptions {
  debug?: boolean
  output: OutputFormat
  server?: string
  caCert?: string
  insecure?: boolean
  dctlconfig?: string
  /** Milliseconds. */
  timeout: number
}

const defaultTimeout = 30_000

function globalOptions(): Option[] {
  return [
    new Option('--debug', 'show what goes wrong in full'),
    new Option('-o, --output <format>', 'how to print').choices([...outputFormats]),
    new Option('-s, --server <address>', 'HOST, HOST:PORT or unix:///path of control ($VIRTUAL_IP)'),
    new Option('--ca-cert <file>', 'authority that signed the certificate of the server'),
    new Option('-i, --insecure', 'do not check the certificate of the server'),
    new Option('--dctlconfig <file>', 'configuration of dctl ($DCTL_CONFIG)'),
    new Option('--timeout <duration>', 'longest wait for an answer (default 30s)').argParser(durationFlag('--timeout')),
  ]
}

/**
 * Adds the global flags to the program and, once all verbs are there, to each of them, so that they can stand before
 * and after the verb. Where a verb has a short flag of its own (`network create -s SUBNET`), that one wins after the verb.
 */
export function addGlobalFlags(program: Command): void {
  program.enablePositionalOptions()
  for (const option of globalOptions()) program.addOption(option)
  addToVerbs(program)
}

function addToVerbs(command: Command): void {
  for (const child of command.commands) {
    const taken = new Set(child.options.flatMap((option) => [option.short, option.long]))
    child.optionsGroup('Global options:')
    for (const option of globalOptions()) {
      if (taken.has(option.long)) continue
      if (option.short && taken.has(option.short)) option.flags = option.flags.replace(/^-\w, /, '')
      if (option.short && taken.has(option.short)) option.short = undefined
      child.addOption(option)
    }
    addToVerbs(child)
  }
}

/** The global flags as given, the one nearest to the verb winning. */
export function readGlobalOptions(command: Command): GlobalOptions {
  const found: Partial<GlobalOptions> = {}
  for (let at: Command | null = command; at; at = at.parent) {
    const values = at.opts<Partial<GlobalOptions>>()
    for (const option of globalOptions()) {
      const key = option.attributeName() as keyof GlobalOptions
      if (found[key] === undefined && at.getOptionValueSource(key) === 'cli')
        Object.assign(found, { [key]: values[key] })
    }
  }
  return { ...found, output: found.output ?? 'simple', timeout: found.timeout ?? defaultTimeout }
}

/** The first word of a command line that is neither a global flag nor the value of one. */
export function verbOf(args: string[]): string | undefined {
  const options = globalOptions()
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!
    if (!arg.startsWith('-')) return arg
    if (options.some((option) => option.required && (option.short === arg || option.long === arg))) index++
  }
  return undefined
}
