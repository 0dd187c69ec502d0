// Runs inside a node, as a container runtime does: reads ChainRequests from standard input, one JSON document per line,
// and calls the plugins as libcni does: ADD in order, each with the result of the one before; DEL in reverse order.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pluginInput, type ChainRequest, type ChainResponse } from './cni-chain.ts'

for await (const line of createInterface({ input: process.stdin })) {
  void answer(JSON.parse(line) as ChainRequest)
}

async function answer(request: ChainRequest): Promise<void> {
  const response = await call(request).catch((error: unknown): ChainResponse => {
    return { id: request.id, ok: false, error: error instanceof Error ? error.message : String(error) }
  })
  process.stdout.write(`${JSON.stringify(response)}\n`)
}

async function call(request: ChainRequest): Promise<ChainResponse> {
  const order = request.chain.plugins.map((_, index) => index)
  if (request.command === 'DEL') order.reverse()
  const begin = performance.now()
  let result = request.prevResult
  for (const index of order) {
    const output = await runPlugin(request, index, pluginInput(request, index, result))
    if (request.command === 'ADD') result = JSON.parse(output)
  }
  return { id: request.id, ok: true, milliseconds: performance.now() - begin, result }
}

function runPlugin(request: ChainRequest, index: number, input: string): Promise<string> {
  const { type } = request.chain.plugins[index]!
  return new Promise((resolve, reject) => {
    const plugin = spawn(join(request.pluginFolder, type), { env: environment(request) })
    const out: Buffer[] = []
    plugin.stdout.on('data', (part: Buffer) => out.push(part))
    plugin.stderr.on('data', (part: Buffer) => out.push(part))
    plugin.stdin.on('error', () => {}) // the exit code tells
    plugin.stdin.end(input)
    plugin.on('error', reject)
    plugin.on('close', (code) => {
      const text = Buffer.concat(out).toString()
      if (code === 0) resolve(text)
      else reject(new Error(`${type} ${request.command}: exit code ${code}: ${text.trim()}`))
    })
  })
}

function environment(request: ChainRequest): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    CNI_COMMAND: request.command,
    CNI_PATH: request.pluginFolder,
    CNI_CONTAINERID: request.containerId,
    CNI_NETNS: request.netns,
    CNI_IFNAME: 'eth0',
    ...(request.podArguments === undefined ? {} : { CNI_ARGS: request.podArguments }),
  }
}
