import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../lab/free-port.ts'
import {
  Drive,
  Endpoint,
  Network,
  Node,
  Plex,
  VolumeAttachment,
  type KindDefinition,
  type KubeObject,
} from '../../src/api/index.ts'
import { exec } from '../../src/base/index.ts'
import { RestStore, type Selection } from '../../src/store/index.ts'
import { quantile } from '../statistics.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { fillStore, nodeName, type StoreSize } from './large-store.ts'

const rows = {
  memory: { name: 'control with 1000 agents and 50 000 endpoints: memory', unit: 'MB', target: { atMost: 600 } },
  start: { name: 'control with 1000 agents and 50 000 endpoints: start', unit: 's' },
  list: { name: 'control with 1000 agents and 50 000 endpoints: list of all endpoints', unit: 's' },
  fanOut: { name: 'control with 1000 agents and 50 000 endpoints: one change seen by all agents, p99', unit: 'ms', target: { atMost: 200 } }, // prettier-ignore
}
const changes = 20
const heartbeatInterval = 10_000

/** Control at the size of a large cluster: simulated agents that watch and send heartbeats over TLS, as real ones do. */
export const largeClusterGroup: Group<void> = {
  rows: Object.values(rows),
  async measure(_place, _wanted, context) {
    const size = context.quick ? { nodes: 100, endpoints: 5_000 } : { nodes: 1000, endpoints: 50_000 }
    const folder = mkdtempSync(join(tmpdir(), 'carbonado-bench-large-'))
    let control: ControlProcess | undefined
    try {
      context.progress(`a store with ${size.endpoints} endpoints`)
      mkdirSync(join(folder, 'data'))
      await fillStore(join(folder, 'data'), size)
      control = await startControl(folder)
      return await measureControl(control, size, context)
    } finally {
      if (control) await end(control.child)
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

interface ControlProcess {
  child: ChildProcess
  server: string
  caFile: string
  startSeconds: number
}

const token = 'token-of-the-benchmark'

async function startControl(folder: string): Promise<ControlProcess> {
  const file = (name: string): string => join(folder, name)
  const [caFile, keyFile] = [file('tls.crt'), file('tls.key')]
  const subject = ['-subj', '/CN=bench', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  await exec(['openssl', 'req', '-x509', ...key, ...subject, '-out', caFile])
  const port = await freePort()
  writeFileSync(file('tokens.json'), JSON.stringify([{ token, user: 'bench', role: 'admin' }]), { mode: 0o600 })
  const configuration = {
    dataDirectory: file('data'),
    listen: [{ host: '127.0.0.1', port }],
    tls: { certificateFile: caFile, keyFile },
    tokensFile: file('tokens.json'),
  }
  writeFileSync(file('control.json'), JSON.stringify(configuration))
  const program = join(import.meta.dirname, '..', '..', 'dist', 'control.js')
  const begin = performance.now()
  const child = spawn(process.execPath, [program, '--config', file('control.json')], { stdio: 'ignore' })
  const server = `https://127.0.0.1:${port}`
  await waitUntilServing(child, { server, caFile, token })
  return { child, server, caFile, startSeconds: (performance.now() - begin) / 1000 }
}

async function waitUntilServing(
  child: ChildProcess,
  access: ConstructorParameters<typeof RestStore>[0],
): Promise<void> {
  const store = new RestStore({ ...access, timeout: 2_000 })
  try {
    const deadline = performance.now() + 120_000
    while (!(await store.list(Network, { limit: 1 }).catch(() => undefined))) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error('control did not start')
      await sleep(50)
    }
  } finally {
    await store.close()
  }
}

async function measureControl(
  control: ControlProcess,
  { nodes, endpoints }: StoreSize,
  { progress }: RunContext,
): Promise<Record<string, Measurement>> {
  const connect = (): RestStore => new RestStore({ ...control, token, timeout: 60_000 })
  const admin = connect()
  const agents = Array.from({ length: nodes }, (_, index) => new SimulatedAgent(nodeName(index), connect()))
  try {
    progress(`${nodes} agents connect`)
    for (const agent of agents) await agent.start()
    await sleep(heartbeatInterval) // each has sent a heartbeat by now
    progress('one change after another')
    const delays = await fanOutDelays(admin, agents)
    const list = await listSeconds(admin, endpoints)
    await sleep(2_000)
    const detail = `${nodes} agents, ${endpoints} endpoints`
    return {
      [rows.memory.name]: { value: residentMegabytes(control.child.pid!), detail: `resident set at the end; ${detail}` },
      [rows.start.name]: { value: control.startSeconds, detail: `from start to the first answer; ${detail}` },
      [rows.list.name]: { value: list, detail: 'in pages of 500, one after the other' },
      [rows.fanOut.name]: {
        value: quantile(delays, 0.99),
        detail: `${changes} changes of a network; median ${quantile(delays, 0.5).toFixed(1)} ms, longest ${Math.max(...delays).toFixed(1)} ms`,
      },
    } // prettier-ignore
  } finally {
    await Promise.all(agents.map((agent) => agent.stop()))
    await admin.close()
  }
}

/** What an agent asks of control: all networks and what is its own, watched; and heartbeats. */
class SimulatedAgent {
  readonly #name: string
  readonly #store: RestStore
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<unknown> | undefined
  /** Called with a network's annotations as soon as the agent sees a change of it. */
  onNetwork: (annotations: Record<string, string>) => void = () => {}

  constructor(name: string, store: RestStore) {
    this.#name = name
    this.#store = store
  }

  async start(): Promise<void> {
    const own = { fieldSelector: `spec.nodeName=${this.#name}` }
    const ignore = (): void => {}
    const watches = [
      await this.#follow(Network, {}, ({ metadata }) => this.onNetwork(metadata.annotations ?? {})),
      await this.#follow(Node, { fieldSelector: `metadata.name=${this.#name}` }, ignore),
      await this.#follow(Endpoint, own, ignore),
      await this.#follow(Drive, own, ignore),
      await this.#follow(Plex, own, ignore),
      await this.#follow(VolumeAttachment, own, ignore),
    ]
    this.#running = Promise.allSettled(watches.map(({ ended }) => ended))
    setTimeout(() => this.#beat(), Math.random() * heartbeatInterval)
    this.#timer = setInterval(() => this.#beat(), heartbeatInterval)
  }

  /** Lists, then watches; what is returned is the watch as it goes on. */
  async #follow<T extends KubeObject>(
    kind: KindDefinition<T>,
    selection: Selection,
    onChange: (object: T) => void,
  ): Promise<{ ended: Promise<void> }> {
    const { resourceVersion } = await this.#store.list(kind, selection)
    const { signal } = this.#stop
    const options = { ...selection, resourceVersion, allowBookmarks: true, signal }
    const follow = async (): Promise<void> => {
      for await (const event of this.#store.watch(kind, options)) if (event.type !== 'BOOKMARK') onChange(event.object)
    }
    return { ended: follow() }
  }

  #beat(): void {
    if (this.#stop.signal.aborted) return
    const agent = { heartbeat: new Date().toISOString(), address: '127.0.0.1:1', version: 'bench', linkRate: 25e9, mtu: 1500, carrier: true, problems: [] } // prettier-ignore
    this.#store.patch(Node, { name: this.#name }, { status: { agent } }, { subresource: 'status' }).catch(() => {})
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    clearInterval(this.#timer)
    await this.#running
    await this.#store.close()
  }
}

/** Milliseconds from sending a change until each agent has it, for every change and agent. */
async function fanOutDelays(admin: RestStore, agents: SimulatedAgent[]): Promise<number[]> {
  const delays: number[] = []
  for (let change = 0; change < changes; change += 1) {
    const mark = `change-${change}`
    const sent = performance.now()
    const seen = agents.map(
      (agent) =>
        new Promise<void>((resolve) => {
          agent.onNetwork = (annotations) => {
            if (annotations.mark !== mark) return
            agent.onNetwork = () => {}
            delays.push(performance.now() - sent)
            resolve()
          }
        }),
    )
    await admin.patch(Network, { name: 'net0' }, { metadata: { annotations: { mark } } })
    await Promise.race([Promise.all(seen), sleep(30_000).then(() => Promise.reject(new Error('agents miss a change')))])
    await sleep(100)
  }
  return delays
}

async function listSeconds(store: RestStore, expected: number): Promise<number> {
  const begin = performance.now()
  let [count, token] = [0, undefined as string | undefined]
  do {
    const page = await store.list(Endpoint, { limit: 500, continue: token })
    count += page.items.length
    token = page.continue
  } while (token)
  if (count !== expected) throw new Error(`the list has ${count} endpoints, not ${expected}`)
  return (performance.now() - begin) / 1000
}

function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!
  return Number(kilobytes) / 1000
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
