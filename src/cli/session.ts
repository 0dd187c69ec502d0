import { Command } from 'commander'
import type { VerbContext, VerbHandler, VerbHost } from '../verb/index.ts'
import { askAgent } from './agent-access.ts'
import { resolveConnection } from './connection.ts'
import { confirm } from './confirm.ts'
import { readGlobalOptions, type GlobalOptions } from './global-flags.ts'
import type { ControlClient, World } from './world.ts'

/** Runs verbs one at a time: gives each a context that connects when it is first needed, and closes it afterwards. */
export class VerbSession implements VerbHost {
  /** What the last verb returned. */
  exitCode = 0
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  run<Options extends object>(handler: VerbHandler<Options>): (...parameters: unknown[]) => Promise<void> {
    return async (...parameters) => {
      const command = parameters.at(-1) as Command
      const connected = new LazyClient(this.#world, readGlobalOptions(command))
      try {
        const context = makeContext(this.#world, connected, readGlobalOptions(command))
        this.exitCode = (await handler(context, command.args, command.opts<Options>(), command)) ?? 0
      } finally {
        await connected.close()
      }
    }
  }
}

class LazyClient {
  readonly #world: World
  readonly #options: GlobalOptions
  #client: Promise<ControlClient> | undefined

  constructor(world: World, options: GlobalOptions) {
    this.#world = world
    this.#options = options
  }

  get(): Promise<ControlClient> {
    this.#client ??= this.#connect()
    return this.#client
  }

  async #connect(): Promise<ControlClient> {
    return this.#world.connect(resolveConnection(this.#options, this.#world.environment))
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined) // whoever asked for it has the error already
    await client?.close()
  }
}

function makeContext(world: World, client: LazyClient, options: GlobalOptions): VerbContext {
  return {
    output: options.output,
    store: async () => (await client.get()).store,
    readAgent: async <T>(nodeName: string, path: string) => askAgent<T>(await client.get(), nodeName, path),
    askAgent: async <T>(nodeName: string, path: string, body: object) =>
      askAgent<T>(await client.get(), nodeName, path, body),
    request: async <T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) =>
      method === 'GET' ? (await client.get()).getJson<T>(path) : (await client.get()).request<T>(method, path, body),
    print: (text) => void world.write(`${text}\n`),
    note: (text) => void world.writeError(`${text}\n`),
    confirm: (question, assumeYes) => confirm(world, question, assumeYes),
    now: () => world.now(),
  }
}
