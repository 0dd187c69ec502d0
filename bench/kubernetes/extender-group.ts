import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:https'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allKinds, type KindDefinition } from '../../src/api/index.ts'
import { exec, silentLogger } from '../../src/base/index.ts'
import { ObjectCache } from '../../src/control/kubernetes/object-cache.ts'
import { kubernetesKinds, PodIndices } from '../../src/control/kubernetes/pod-controllers.ts'
import { SchedulingFacts } from '../../src/control/kubernetes/scheduling/index.ts'
import { makeWebhookApp } from '../../src/control/kubernetes/webhook-app.ts'
import { Listeners } from '../../src/control/listeners.ts'
import { quantile } from '../statistics.ts'
import type { Group } from '../suite.ts'
import { nodeName, podOf, simulatedCluster, type ClusterSize } from './simulated-cluster.ts'

const row = { name: 'scheduler extender at 100 nodes and 5000 pods: filter and prioritize of one pod, p99', unit: 'ms', target: { atMost: 10 } } // prettier-ignore
const size: ClusterSize = { nodes: 100, pods: 5000 }

/** What kube-scheduler waits for, per pod, over TLS with its certificate: all nodes filtered, then scored. */
export const extenderGroup: Group<void> = {
  rows: [row],
  async measure(_place, _wanted, { quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'carbonado-bench-extender-'))
    await using closing = new AsyncDisposableStack()
    closing.defer(() => rmSync(folder, { recursive: true, force: true }))
    const files = await makeCertificates(folder)
    const { url, close } = await serveExtender(files)
    closing.defer(close)
    const agent = new Agent({ keepAlive: true, ...clientOptions(files) })
    closing.defer(() => agent.destroy())
    const durations: number[] = []
    const [warmUp, rounds] = quick ? [50, 200] : [300, 3000]
    for (let round = 0; round < warmUp + rounds; round++) {
      const took = await scheduleOne(url, agent, `new-${round}`)
      if (round >= warmUp) durations.push(took)
    }
    const detail = `${rounds} pods with an interface and a new volume each; p50 ${quantile(durations, 0.5).toFixed(2)}, longest ${Math.max(...durations).toFixed(2)}` // prettier-ignore
    return { [row.name]: { value: quantile(durations, 0.99), detail } }
  },
}

interface Files {
  certificateFile: string
  keyFile: string
}

/** One certificate for both sides: it is its own authority. */
async function makeCertificates(folder: string): Promise<Files> {
  const [certificateFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const subject = ['-subj', '/CN=bench', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  await exec(['openssl', 'req', '-x509', ...key, ...subject, '-out', certificateFile])
  return { certificateFile, keyFile }
}

function clientOptions({ certificateFile, keyFile }: Files): { ca: Buffer; cert: Buffer; key: Buffer } {
  const certificate = readFileSync(certificateFile)
  return { ca: certificate, cert: certificate, key: readFileSync(keyFile) }
}

async function serveExtender(files: Files): Promise<{ url: string; close: () => Promise<void> }> {
  const logger = silentLogger()
  const kinds = (allKinds as unknown as KindDefinition[]).filter(({ group }) => group === 'carbonado.io')
  const cache = new ObjectCache(simulatedCluster(size), [...kinds, ...kubernetesKinds], logger)
  await cache.start()
  const indices = new PodIndices(cache)
  const facts = new SchedulingFacts(cache, indices)
  const app = makeWebhookApp({
    kinds,
    reader: cache,
    admit: () => {},
    isLeading: () => true,
    scheduler: {
      demandOf: (pod) => facts.demandOf(pod),
      nodeFacts: (name) => facts.nodeFacts(name),
      bind: () => Promise.resolve(),
    },
    bodyLimit: 4 * 1024 * 1024,
    logger,
  })
  await app.ready()
  const listeners = new Listeners(
    { listen: [{ host: '127.0.0.1', port: 0 }], tls: files, clientAuthorityFile: files.certificateFile },
    app.routing as RequestListener,
  )
  await listeners.open()
  const close = async (): Promise<void> => {
    listeners.stopAccepting()
    await listeners.drain(1_000)
    await app.close()
    await cache.stop()
  }
  return { url: listeners.urls[0]!, close }
}

/** Milliseconds from the first question to the last answer. Throws when an answer is not that all nodes fit. */
async function scheduleOne(url: string, agent: Agent, name: string): Promise<number> {
  const NodeNames = Array.from({ length: size.nodes }, (_, index) => nodeName(index))
  const begin = performance.now()
  const filtered = (await post(`${url}/scheduler/filter`, agent, { Pod: podOf(name), NodeNames })) as { NodeNames: string[] } // prettier-ignore
  const scored = (await post(`${url}/scheduler/prioritize`, agent, { Pod: podOf(name), NodeNames: filtered.NodeNames })) as unknown[] // prettier-ignore
  const took = performance.now() - begin
  if (scored.length !== size.nodes) throw new Error(`only ${scored.length} of ${size.nodes} nodes were scored`)
  return took
}

function post(url: string, agent: Agent, body: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => (text += chunk))
      answer.on('end', () => (answer.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(text))))
    })
    sent.on('error', reject)
    sent.end(JSON.stringify(body))
  })
}
