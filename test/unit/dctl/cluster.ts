import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Registry } from '@prometheus-io/client'
import { createLiveApi } from '../../../src/agent/live-api.ts'
import type { LiveStorage } from '../../../src/storage/live-volume.ts'
import type { LiveEndpoint, LiveNode, LiveUplink } from '../../../src/network/live-endpoint.ts'
import type { NodeProblem } from '../../../src/agent/node-check.ts'
import { NotFound, silentLogger } from '../../../src/base/index.ts'
import { connectToControl } from '../../../src/cli/control-client.ts'
import { runDctl } from '../../../src/cli/program.ts'
import { processWorld } from '../../../src/cli/world.ts'
import { checkConfig } from '../../../src/control/config.ts'
import { startControl, type Control } from '../../../src/control/control.ts'
import { features } from '../../../src/control/features.ts'
import { Node } from '../../../src/api/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

const agentToken = 'token-that-agents-take'

/** What a run of dctl did. */
export interface Run {
  exitCode: number
  output: string
  errors: string
}

/** The real control over TLS with its controllers and the live API of one agent, and dctl in front of them. */
export class Cluster implements AsyncDisposable {
  readonly files: ControlFiles
  readonly control: Control
  readonly agent: ReturnType<typeof createLiveApi>
  /** What the agent of node n1 tells. */
  readonly live: {
    endpoints: LiveEndpoint[]
    uplink: LiveUplink
    held: LiveNode['held']
    problems: NodeProblem[]
    storage: LiveStorage
  }
  /** Answers to questions, in turn; none means that there is no terminal. */
  answers: string[] | undefined
  input = ''

  constructor(files: ControlFiles, control: Control, agent: Cluster['agent'], live: Cluster['live']) {
    this.files = files
    this.control = control
    this.agent = agent
    this.live = live
  }

  static async start(): Promise<Cluster> {
    const files = await makeControlFiles()
    const agentTokenFile = join(files.folder, 'agent-token')
    writeFileSync(agentTokenFile, agentToken)
    const config = checkConfig({ ...files.config, agentCaFile: files.certificateFile, agentTokenFile }, 'of the test')
    const control = await startControl(config, { logger: silentLogger(), features })
    const uplink = { interface: 'eth0', carrier: true, rate: 10e9, promised: 0, sent: 0, received: 0 }
    const live: Cluster['live'] = {
      endpoints: [],
      uplink,
      held: [],
      problems: [],
      storage: { volumes: [], drives: [] },
    }
    const agent = createLiveApi(
      {
        listen: { host: '127.0.0.1', port: 0 },
        tls: { certificateFile: files.certificateFile, keyFile: files.keyFile },
      },
      (authorization) => (authorization === `Bearer ${agentToken}` ? { user: 'control', role: 'viewer' } : undefined),
      {
        node: () => live,
        volumes: () => live.storage,
        check: () => Promise.resolve(live.problems),
        metrics: new Registry(),
        path: () => Promise.reject(new NotFound('not attached')),
        probe: () => Promise.reject(new NotFound('not attached')),
        snapshotBlocks: () => Promise.reject(new NotFound('this agent has no snapshots')),
        acceptLimits: () => Promise.resolve({}),
      },
    )
    await agent.start()
    const cluster = new Cluster(files, control, agent, live)
    writeFileSync(cluster.configFile, JSON.stringify(cluster.connection))
    return cluster
  }

  get configFile(): string {
    return join(this.files.folder, 'dctl.json')
  }

  get connection(): { server: string; caFile: string; token: string } {
    const server = this.control.urls.find((url) => url.startsWith('https'))!
    return { server, caFile: this.files.certificateFile, token: testTokens.admin }
  }

  /** Runs dctl with words separated by spaces (a word in quotes may hold spaces). */
  async dctl(line: string, environment: Record<string, string> = {}): Promise<Run> {
    const args = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2]!)
    const run: Run = { exitCode: 0, output: '', errors: '' }
    run.exitCode = await runDctl(args, {
      ...processWorld(),
      environment: { HOME: this.files.folder, DCTL_CONFIG: this.configFile, ...environment },
      write: (text) => void (run.output += text),
      writeError: (text) => void (run.errors += text),
      ask: this.answers && (() => Promise.resolve(this.answers!.shift() ?? '')),
      readInput: () => Promise.resolve(this.input),
      connect: connectToControl,
    })
    return run
  }

  /** The same, and fails unless it exits with 0. Returns standard output. */
  async done(line: string): Promise<string> {
    const { exitCode, output, errors } = await this.dctl(line)
    if (exitCode !== 0) throw new Error(`dctl ${line}: exit code ${exitCode}: ${errors}`)
    return output
  }

  /** Adds a node with a link of 10 Gbit/s whose agent is the one of this cluster. */
  async addNode(name: string, address = this.agent.address()): Promise<void> {
    const { store } = this.control
    const interfaces = { uplinks: { pods: { interface: 'eth0', rate: '10G' } }, maximumInterfaces: 63 }
    await store.create(Node, { metadata: { name }, spec: interfaces })
    await this.tellAgentAddress(name, address)
  }

  /** What an agent tells about its node with each heartbeat; `more` over what it tells otherwise. */
  async tellAgentAddress(name: string, address: string, more: object = {}): Promise<void> {
    const agent = {
      heartbeat: new Date().toISOString(),
      address,
      version: '0.1.0',
      linkRate: 10e9,
      mtu: 1500,
      carrier: true,
      problems: [],
      uplinks: [{ plane: 'pods', interface: 'eth0', link: 'eth0', linkRate: 10e9, mtu: 1500, carrier: true }],
      ...more,
    }
    await this.control.store.patch(Node, { name }, { status: { agent } }, { subresource: 'status' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.stop()
    await this.control.stop()
    rmSync(this.files.folder, { recursive: true, force: true })
  }
}
