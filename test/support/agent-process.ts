import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAnswering } from '../../src/base/index.ts'
import { testTokens, type ControlFiles } from './control-files.ts'
import { pins } from './one-node.ts'
import { succeeds } from './own-namespaces.ts'

const root = join(import.meta.dirname, '../..')
const plugin = join(root, 'build/cni/carbonado-cni')

/** Where the live API of the test's agent listens. */
export const liveApi = 'https://127.0.0.1:17461'

/** What the plugin printed and exited with. */
export interface PluginAnswer {
  exitCode: number | null
  /** Undefined when it printed nothing. */
  output: Record<string, unknown> | undefined
}

/** The agent as a process of its own on the node of `one-node.ts`, with the plugin that speaks to it. */
export class AgentProcess {
  readonly #files: ControlFiles
  #child: ChildProcess | undefined

  constructor(files: ControlFiles) {
    this.#files = files
    writeFileSync(this.#file('agent-token'), testTokens.agent)
    writeFileSync(this.#file('agent.json'), JSON.stringify(this.#configuration()))
  }

  /** Starts it and waits until it takes calls. `isQuiet`: it logs nothing once it is there. */
  async start({ isQuiet = false } = {}): Promise<void> {
    const command = [join(root, 'src/agent/main.ts'), '--config', this.#file('agent.json')]
    const child = spawn(process.execPath, command, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...(isQuiet ? { CARBONADO_LOG_LEVEL: 'silent' } : {}) },
    })
    this.#child = child
    let said = ''
    child.stderr.on('data', (part: Buffer) => (said += part.toString()))
    const deadline = Date.now() + 45_000
    while (isQuiet ? !(await isAnswering(this.#file('cni.sock'))) : !said.includes('the agent is ready')) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the agent did not start: ${said}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    child.stderr.removeAllListeners('data').resume()
  }

  get pid(): number {
    return this.#child!.pid!
  }

  get isRunning(): boolean {
    return this.#child!.exitCode === null && this.#child!.signalCode === null
  }

  /** Sends a signal and waits for the end; returns exit code or signal. */
  async end(signal: NodeJS.Signals): Promise<number | string | null> {
    const child = this.#child!
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await once(child, 'exit')
    }
    return child.exitCode ?? child.signalCode
  }

  /** Runs the plugin as a runtime does. */
  async call(verb: string, container: string, configuration: object = {}): Promise<PluginAnswer> {
    const child = spawn(plugin, [], {
      env: {
        CARBONADO_CNI_SOCKET: this.#file('cni.sock'),
        CNI_COMMAND: verb,
        CNI_CONTAINERID: container,
        CNI_IFNAME: 'eth0',
        CNI_NETNS: `/run/netns/${container}`,
      },
    })
    let output = ''
    child.stdout.on('data', (part: Buffer) => (output += part.toString()))
    child.stdin.on('error', () => {})
    child.stdin.end(JSON.stringify({ cniVersion: '1.1.0', name: 'test', type: 'carbonado-cni', ...configuration }))
    const [exitCode] = (await once(child, 'close')) as [number | null]
    return { exitCode, output: output === '' ? undefined : (JSON.parse(output) as Record<string, unknown>) }
  }

  #configuration(): object {
    const { certificateFile, keyFile } = this.#files
    return {
      nodeName: 'n1',
      node: { uplinks: { pods: { interface: 'eth0', rate: '1G' } } },
      control: { server: `unix://${this.#file('control.sock')}`, tokenFile: this.#file('agent-token') },
      stateDirectory: this.#file('agent-state'),
      cniSocket: this.#file('cni.sock'),
      bpffs: pins,
      programs: join(root, 'build/bpf'),
      listen: { host: '127.0.0.1', port: Number(new URL(liveApi).port) },
      tls: { certificateFile, keyFile },
      tokensFile: this.#file('tokens.json'),
    }
  }

  #file(name: string): string {
    return join(this.#files.folder, name)
  }
}

/** Whether one container reaches another. */
export function reaches(container: string, address: string): boolean {
  return succeeds('nsenter', `--net=/run/netns/${container}`, 'ping', '-c', '1', '-W', '2', address)
}
