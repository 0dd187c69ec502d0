/** A configuration list with what a runtime adds to it. */
export interface PluginChain {
  cniVersion: string
  name: string
  plugins: { type: string; capabilities?: Record<string, boolean>; [field: string]: unknown }[]
}

/** One call of a chain of plugins. Paths are those inside the node. */
export interface ChainRequest {
  id: number
  command: 'ADD' | 'DEL'
  chain: PluginChain
  /** Folder of the plugins. */
  pluginFolder: string
  containerId: string
  netns: string
  /** Value of CNI_ARGS. */
  podArguments?: string
  /** What the runtime knows, by capability; each plugin gets those that it declares. */
  capabilityValues?: Record<string, unknown>
  /** For DEL: what ADD answered. */
  prevResult?: unknown
}

/** How a chain answered, and how long it took from the start of the first plugin to the end of the last. */
export type ChainResponse =
  { id: number; ok: true; milliseconds: number; result: unknown } | { id: number; ok: false; error: string }

/** What libcni makes of one plugin of a list: name, version, runtimeConfig of its capabilities, prevResult. */
export function pluginInput(request: ChainRequest, index: number, prevResult: unknown): string {
  const { capabilities, ...plugin } = request.chain.plugins[index]!
  const given = Object.entries(request.capabilityValues ?? {}).filter(([name]) => capabilities?.[name] === true)
  return JSON.stringify({
    ...plugin,
    name: request.chain.name,
    cniVersion: request.chain.cniVersion,
    ...(given.length > 0 ? { runtimeConfig: Object.fromEntries(given) } : {}),
    ...(prevResult === undefined ? {} : { prevResult }),
  })
}
