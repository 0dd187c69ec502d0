import { Argument, type Command } from 'commander'
import { allKinds, Endpoint, type KindDefinition } from '../api/index.ts'
import type { ResourceStore } from '../store/index.ts'
import type { VerbHost } from '../verb/index.ts'
import { completionScripts } from './completion-scripts.ts'
import { cursorOf, matching, shells, type Candidate, type Cursor, type ObjectKind } from './completion.ts'
import { resolveConnection } from './connection.ts'
import type { GlobalOptions } from './global-flags.ts'
import type { ControlClient, World } from './world.ts'

/** Milliseconds that somebody who pressed a key waits for names of objects. */
const patience = 2_000

/** Adds `completion`, and the hidden command that the shells' scripts call. */
export function addCompletionVerbs(program: Command, host: VerbHost, world: World): void {
  program
    .command('completion')
    .description('print the script that completes commands, flags and names of objects in your shell')
    .addArgument(new Argument('<shell>', 'your shell').choices([...shells]))
    .action(
      host.run(async (context, [shell]) =>
        context.print(completionScripts[shell as (typeof shells)[number]].trimEnd()),
      ),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ dctl completion fish | source\n  $ source <(dctl completion bash)\n' +
        '  $ source <(dctl completion zsh)\n\nPut the line into ~/.bashrc or its like to have it always.\n',
    )
  program
    .command('__complete', { hidden: true })
    .description('candidates for the last word of a command line')
    .argument('[word...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      for (const line of await completionLines(program, words, world)) world.write(`${line}\n`)
    })
}

/** `CANDIDATE<tab>what it is` for each candidate, or `:files`. Never throws: a shell has no use for errors. */
export async function completionLines(program: Command, words: string[], world: World): Promise<string[]> {
  const cursor = cursorOf(program, words)
  const current = words.at(-1) === '=' ? '' : (words.at(-1) ?? '')
  const { place } = cursor
  if (place.kind === 'files') return [':files']
  if (place.kind === 'nothing') return []
  const candidates = place.kind === 'words' ? place.words : await namesOf(place.of, place.namespace, cursor, world)
  return matching(candidates, current).map(({ word, says }) => (says ? `${word}\t${oneLine(says)}` : word))
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').slice(0, 80)
}

async function namesOf(kind: ObjectKind, namespace: string, cursor: Cursor, world: World): Promise<Candidate[]> {
  let client: ControlClient | undefined
  try {
    client = await world.connect(resolveConnection(optionsOf(cursor), world.environment))
    return (await listNames(client, kind, namespace)).filter(({ word }) => /^[-\w./]+$/.test(word))
  } catch {
    return []
  } finally {
    await client?.close()
  }
}

function optionsOf({ flags }: Cursor): GlobalOptions {
  const text = (name: string): string | undefined => (typeof flags[name] === 'string' ? flags[name] : undefined)
  return {
    output: 'simple',
    timeout: patience,
    server: text('server'),
    caCert: text('caCert'),
    dctlconfig: text('dctlconfig'),
    insecure: flags.insecure === true,
  }
}

async function listNames({ store, getJson }: ControlClient, of: ObjectKind, namespace: string): Promise<Candidate[]> {
  switch (of) {
    case 'endpoint':
    case 'held endpoint':
      return endpointNames((await store.list(Endpoint, { namespace })).items, of === 'held endpoint')
    case 'namespace': {
      const { items } = await store.list(Endpoint)
      return [...new Set(items.map(({ metadata }) => metadata.namespace!))].sort().map((word) => ({ word }))
    }
    case 'token': {
      const { items } = await getJson<{ items: { metadata: { name: string }; spec: { role: string } }[] }>(
        '/apis/carbonado.io/v1alpha1/tokens',
      )
      return items.map(({ metadata, spec }) => ({ word: metadata.name, says: spec.role }))
    }
    default:
      return namesOfKind(store, of, namespace)
  }
}

/** Names of the kind that a group of verbs is called after; none when there is no such kind. */
async function namesOfKind(store: ResourceStore, group: string, namespace: string): Promise<Candidate[]> {
  const kinds = allKinds as unknown as KindDefinition[]
  const kind = kinds.find((each) => each.kind.toLowerCase() === group.replaceAll('-', ''))
  if (!kind) return []
  const { items } = await store.list(kind, kind.namespaced ? { namespace } : {})
  return items.map(({ metadata }) => ({ word: metadata.name }))
}

/** Names of endpoints; where pods will do as well, these first, since they are what people know. */
function endpointNames(endpoints: Endpoint[], withPods: boolean): Candidate[] {
  const pods = new Set(endpoints.flatMap(({ spec }) => spec.holder?.pod?.name ?? []))
  return [
    ...(withPods ? [...pods].sort().map((word) => ({ word, says: 'pod' })) : []),
    ...endpoints.map(({ metadata, spec }) => ({ word: metadata.name, says: spec.networkName })),
  ]
}
