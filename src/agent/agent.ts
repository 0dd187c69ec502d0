import { join } from 'node:path'
import { Endpoint, type Node } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import { Attachments, currentBootId, openJournal, type Journal } from '../network/attachments/index.ts'
import { createCniHandler } from '../network/cni/index.ts'
import { describeDuplicate, DuplicateWatch } from '../network/duplicate-watch.ts'
import type { NetworkEngine } from '../network/engine.ts'
import { createEndpointMetrics } from '../network/metrics.ts'
import { createRateSampler } from '../network/rates.ts'
import { createInformer, EventRecorder, RestStore, type ResourceStore } from '../store/index.ts'
import { createAttainmentMemory } from './attainment-memory.ts'
import { loadBearerTokens } from './bearer-tokens.ts'
import { createCniServer } from './cni-server.ts'
import type { AgentConfig } from './config.ts'
import { createLiveApi } from './live-api.ts'
import { liveEndpoints, readEndpoints } from './live-view.ts'
import { findNodeProblems, linkRateOf, readNodeFacts, readUplinkFacts, type NodeProblem } from './node-check.ts'
import { NodeRegistration } from './node-registration.ts'
import { startParts, type Part } from './parts.ts'
import { createTrunkProbe } from './trunk-probe.ts'
import { createUplinkMeter } from './uplink-meter.ts'
import { version } from './version.ts'

/** Makes the engine of a node; `spec` is that of its Node object, `linkRate` in bits per second. */
export type EngineFactory = (spec: Node['spec'], linkRate: number) => NetworkEngine

/** What the agent is made of beside its configuration. */
export interface AgentOptions {
  config: Readonly<AgentConfig>
  createEngine: EngineFactory
  logger: Logger
}

/** A running agent. */
export interface Agent {
  /** host:port of the live API. */
  address: string
  /** Stops gracefully; what is attached stays attached. */
  stop(): Promise<void>
}

/** Milliseconds that one request to control may take. */
const requestTimeout = 5_000

/** Starts an agent: engine, then repair, then the CNI socket, so that no call meets a state that is not repaired. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config, logger, createEngine } = options
  const store = new RestStore({ ...config.control, timeout: requestTimeout })
  const registration = createRegistration(options, store, () => problemsOf(registration.spec))
  const spec = await registration.learnSpec()
  const problemsOf = (now: Node['spec']): NodeProblem[] => [
    ...findNodeProblems(now, readNodeFacts(now.uplinks.pods.interface, config.bpffs)),
    ...attachments.lostEndpoints().map(lostEndpointProblem),
    ...duplicates.duplicates().map(describeDuplicate),
  ]
  const engine = createEngine(spec, linkRateOf(spec, readUplinkFacts(spec.uplinks.pods.interface)))
  const journal = openJournal({ file: join(config.stateDirectory, 'journal.db'), bootId: currentBootId(), logger })
  const attachments = createAttachments(options, store, engine, journal)
  const duplicates = createDuplicateWatch(options, store, engine, attachments)
  const memory = createAttainmentMemory(join(config.stateDirectory, 'attainment.json'), logger)
  const uplink = createUplinkMeter(spec.uplinks.pods.interface)
  const rates = createRateSampler(engine, (readings) => {
    memory.record(readings)
    uplink.sample()
  })
  const trunks = createTrunkProbe(config.nodeName, store, engine, logger)
  const api = createLiveApi(config, loadBearerTokens(config.tokensFile), {
    node() {
      const endpoints = liveEndpoints(attachments.attached(), engine.counters(), rates, memory)
      const promised = endpoints.reduce((sum, { bandwidthFloor }) => sum + bandwidthFloor, 0)
      const rate = linkRateOf(registration.spec, readUplinkFacts(registration.spec.uplinks.pods.interface))
      return { endpoints, uplink: uplink.read(rate, promised) }
    },
    metrics: createEndpointMetrics(() => readEndpoints(attachments.attached(), engine.counters())),
    check: async () => [...problemsOf(registration.spec), ...(await trunks.findProblems())],
  })
  const parts: Part[] = [
    { name: 'store', start: () => {}, stop: () => store.close() },
    { name: 'journal', start: () => {}, stop: () => journal.close() },
    { name: 'engine', start: () => engine.start(), stop: () => engine.stop() },
    { name: 'attachments', start: () => attachments.start(), stop: () => attachments.stop() },
    memory,
    { name: 'rates', start: () => rates.start(), stop: () => rates.stop() },
    trunks,
    { name: 'duplicate watch', start: () => duplicates.start(), stop: () => duplicates.stop() },
    api,
    createCniServer(config.cniSocket, createCniHandler(attachments, logger), logger),
    registration,
  ]
  const running = await startParts(parts, logger)
  logger.notice(
    { node: config.nodeName, version, cniSocket: config.cniSocket, api: api.address() },
    'the agent is ready',
  )
  return { address: api.address(), stop: running.stop }
}

function createRegistration(
  { config, logger }: AgentOptions,
  store: ResourceStore,
  problems: () => NodeProblem[],
): NodeRegistration {
  return new NodeRegistration({
    store,
    nodeName: config.nodeName,
    spec: config.node,
    specFile: join(config.stateDirectory, 'node.json'),
    report(spec) {
      const uplink = readUplinkFacts(spec.uplinks.pods.interface)
      const { carrier, mtu } = uplink
      const address = config.advertise ?? `${config.listen.host}:${config.listen.port}`
      return { address, version, linkRate: linkRateOf(spec, uplink), mtu, carrier, problems: problems() }
    },
    onSpecChange: () => logger.warn('the spec of this node has changed; restart the agent to use a new uplink or rate'),
    logger,
  })
}

function createAttachments(
  { config, logger }: AgentOptions,
  store: ResourceStore,
  engine: NetworkEngine,
  journal: Journal,
): Attachments {
  const { nodeName } = config
  const informer = createInformer(store, Endpoint, {
    selection: { fieldSelector: `spec.nodeName=${nodeName}` },
    logger,
  })
  return new Attachments({ nodeName, store, informer, engine, journal, logger })
}

function createDuplicateWatch(
  { config, logger }: AgentOptions,
  store: ResourceStore,
  engine: NetworkEngine,
  attachments: Attachments,
): DuplicateWatch {
  const source = { controller: 'carbonado.io/agent', instance: config.nodeName }
  const events = new EventRecorder(store, source, logger)
  return new DuplicateWatch({ engine, attached: () => attachments.attached(), events, logger })
}

function lostEndpointProblem(name: string): NodeProblem {
  return {
    reason: 'EndpointWithoutObject',
    message: `endpoint ${name} is attached but its Endpoint object is gone, so its addresses may be given to others`,
    remedy: 'Restart the container that uses it; do not remove the finalizer of an Endpoint that is attached.',
  }
}
