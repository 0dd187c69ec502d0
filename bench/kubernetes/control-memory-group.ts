import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { RestStore } from '../../src/store/index.ts'
import { makeControlFiles } from '../../test/support/control-files.ts'
import { startKubeApiserver } from '../../test/support/kube-apiserver.ts'
import { fillRemoteStore } from '../network/large-store.ts'
import type { Group } from '../suite.ts'

const row = { name: 'control on Kubernetes with 1000 nodes and 50 000 endpoints: memory', unit: 'MB', target: { atMost: 600 } } // prettier-ignore
/** Milliseconds without a change of the resident set of more than a few percent, after which control counts as settled. */
const settled = 30_000

/** Control against a real kube-apiserver with as many objects as a large cluster has; no agents, no pods. */
export const controlMemoryGroup: Group<void> = {
  rows: [row],
  async measure(_place, _wanted, { quick, progress }) {
    const size = quick ? { nodes: 100, endpoints: 2_000 } : { nodes: 1000, endpoints: 50_000 }
    await using closing = new AsyncDisposableStack()
    const apiserver = await startKubeApiserver()
    closing.defer(() => apiserver.close())
    apiserver.kubectl('create', 'namespace', 'carbonado-system')
    const { server, caFile, token } = apiserver
    const store = new RestStore({ server, caFile, token, timeout: 60_000 })
    closing.defer(() => store.close())
    progress(`${size.endpoints} endpoints with their claims`)
    await fillRemoteStore(store, size)
    const files = await makeControlFiles()
    closing.defer(() => files[Symbol.dispose]())
    const [tokenFile, config] = [join(files.folder, 'apiserver-token'), join(files.folder, 'kubernetes.json')]
    writeFileSync(tokenFile, token)
    const { certificateFile, keyFile } = files
    writeFileSync(config, JSON.stringify({ kubernetes: { server, caFile, tokenFile }, listen: { host: '127.0.0.1', port: 0 }, tls: { certificateFile, keyFile } })) // prettier-ignore
    progress('control')
    const program = join(import.meta.dirname, '..', '..', 'dist', 'control.js')
    const child = spawn(process.execPath, [program, '--config', config], { stdio: 'ignore' })
    closing.defer(() => end(child))
    const { now, highest } = await settledMemory(child)
    const detail = `resident set, quiet for ${settled / 1000} s; highest ${highest.toFixed(0)} MB; ${size.nodes} nodes, ${size.endpoints} endpoints` // prettier-ignore
    return { [row.name]: { value: now, detail } }
  },
}

async function settledMemory(child: ChildProcess): Promise<{ now: number; highest: number }> {
  const deadline = performance.now() + 300_000
  let [reference, since, highest] = [0, performance.now(), 0]
  for (;;) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error('control did not settle')
    const now = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]!) / 1000
    highest = Math.max(highest, now)
    if (Math.abs(now - reference) > 0.03 * reference) [reference, since] = [now, performance.now()]
    if (performance.now() - since > settled) return { now, highest }
    await sleep(500)
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
