import { join } from 'node:path'
import { Endpoint, type FoundUplink, type Node } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import { formatRate, planeReserves } from '../guarantee/index.ts'
import { Attachments, currentBootId, openJournal } from '../network/attachments/index.ts'
import { createCniHandler } from '../network/cni/index.ts'
import { describeDuplicate, DuplicateWatch } from '../network/duplicate-watch.ts'
import type { NetworkEngine, UplinkLimits } from '../network/engine.ts'
import { EndpointConditions } from '../network/endpoint-conditions.ts'
import { DriftWatch } from '../network/drift-watch.ts'
import { createEndpointMetrics } from '../network/metrics.ts'
import { HostPath } from '../network/host-path/index.ts'
import { inspectPath, probeFrom, type PathSources } from '../network/path/index.ts'
import { createRateSampler } from '../network/rates.ts'
import { createVolumeMetrics } from '../storage/metrics.ts'
import type { PoolFormat } from '../storage/pool-format.ts'
import { createCsi } from './csi.ts'
import { createStorage } from './storage.ts'
import { createInformer, EventRecorder, inPodServer, RestStore, type ResourceStore } from '../store/index.ts'
import { createAttainmentMemory } from './attainment-memory.ts'
import { loadBearerTokens, type Authenticate } from './bearer-tokens.ts'
import { createCniServer } from './cni-server.ts'
import type { AgentConfig } from './config.ts'
import { createFreeMemory } from './free-memory.ts'
import { createLiveApi } from './live-api.ts'
import { liveEndpoints, readEndpoints } from './live-view.ts'
import { withMetricsReaders } from './metrics-readers.ts'
import { findNodeProblems, readNodeFacts, type NodeProblem } from './node-check.ts'
import { NodeRegistration } from './node-registration.ts'
import { startParts, type Part } from './parts.ts'
import { withPeerTokens } from './peer-tokens.ts'
import { createReceivePart } from './receive-part.ts'
import { createTrunkProbe } from './trunk-probe.ts'
import { initialLimits, otherUplinkProblem, podsUplink, specToFollow, uplinkLimits } from './uplink-limits.ts'
import { createUplinkMeter } from './uplink-meter.ts'
import { UplinkMonitor } from './uplink-monitor.ts'
import { createVolumeGuarantee } from './volume-guarantee.ts'
import { version } from './version.ts'
import { createVisitorCheck, withVisitors } from './visitors.ts'

/** Makes the engine of a node whose containers send through the device `uplink`. */
export type EngineFactory = (uplink: string, limits: UplinkLimits) => NetworkEngine

/** What the agent is made of beside its configuration. */
export interface AgentOptions {
  config: Readonly<AgentConfig>
  createEngine: EngineFactory
  /** Formats that pools on drives can have, the preferred one first. */
  poolFormats?: PoolFormat[]
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
  const { server = inPodServer(), ...credentials } = config.control
  const store = new RestStore({ server, ...credentials, timeout: requestTimeout })
  const registration = createRegistration(options, store, {
    found: () => uplinks.found,
    problems: () => problemsOf(registration.spec),
    onSpecChange: (now) => uplinks.follow(specToFollow(now, uplink)),
    onNode: (node) => hostPath?.learn(node),
  })
  const spec = await registration.learnSpec()
  const uplink = spec.uplinks.pods.interface
  const uplinks = new UplinkMonitor({ spec, logger, onChange: (found) => takeOver(found) })
  const takeOver = async (found: FoundUplink[]): Promise<void> => {
    const { linkRate, carrier, mtu } = podsUplink(found)
    logger.notice({ uplink, carrier, mtu, linkRate: formatRate(linkRate) }, 'the uplinks have changed')
    registration.reportSoon()
    if (mtu > 0) await engine.changeUplink(uplinkLimits(registration.spec, found)) // else there is no such device now
  }
  const problemsOf = (now: Node['spec']): NodeProblem[] => [
    ...otherUplinkProblem(now, uplink),
    ...findNodeProblems(specToFollow(now, uplink), readNodeFacts(config.bpffs)),
    ...attachments.lostEndpoints().map(lostEndpointProblem),
    ...duplicates.duplicates().map(describeDuplicate),
    ...drift.problems(),
    ...receiving.problems(),
  ]
  const engine = createEngine(uplink, initialLimits(spec, uplinks.found))
  const journal = openJournal({ file: join(config.stateDirectory, 'journal.db'), bootId: currentBootId(), logger })
  const informer = createInformer(store, Endpoint, {
    selection: { fieldSelector: `spec.nodeName=${config.nodeName}` },
    logger,
  })
  const { nodeName, podsOwnEndpoints, hostPath: settings } = config
  const hostPath = settings && new HostPath({ nodeName, settings, engine, store, logger })
  const attachments = new Attachments({
    ...{ nodeName, store, informer, engine, journal, logger, podsOwnEndpoints },
    ...(hostPath ? { hostPath } : {}),
  })
  const duplicates = createDuplicateWatch(options, store, engine, attachments)
  const conditions = new EndpointConditions({
    store,
    objects: () => informer.items(),
    duplicates: () => duplicates.duplicates(),
    logger,
  })
  const drift = createDriftWatch(options, store, engine, attachments)
  const memory = createAttainmentMemory(
    join(config.stateDirectory, 'attainment.json'),
    (endpointId) => receiving.windowsOf(endpointId),
    logger,
  )
  const meter = createUplinkMeter(uplink)
  const rates = createRateSampler(engine, logger, (readings) => {
    memory.record(readings)
    meter.sample()
  })
  const receiving = createReceivePart({
    config,
    linkRate: () => podsUplink(uplinks.found).linkRate,
    reserves: () => planeReserves(specToFollow(registration.spec, uplink), uplinks.found),
    store,
    engine,
    attachments,
    logger,
  })
  const trunks = createTrunkProbe(config.nodeName, store, engine, logger)
  const paths: PathSources = {
    attached: () => attachments.attached(),
    engine,
    uplink() {
      const { carrier, mtu } = podsUplink(uplinks.found)
      return { interface: uplink, carrier, mtu }
    },
  }
  const guarantee = createVolumeGuarantee(config.stateDirectory, () => storage, logger)
  const storage = createStorage(options, store, () => guarantee)
  const endpointMetrics = createEndpointMetrics(
    () => readEndpoints(attachments.attached(), engine.counters(), memory),
    drift,
  )
  const volumeMetrics = createVolumeMetrics(() => guarantee.live())
  const api = createLiveApi(config, authenticateBy(config, store), {
    node() {
      const endpoints = liveEndpoints(attachments.attached(), engine.counters(), rates, memory)
      const promised = endpoints.reduce((sum, { bandwidthFloor }) => sum + bandwidthFloor, 0)
      return { endpoints, uplink: meter.read(podsUplink(uplinks.found), promised), held: receiving.held() }
    },
    metrics: {
      contentType: endpointMetrics.contentType,
      metrics: async () => (await Promise.all([endpointMetrics.metrics(), volumeMetrics.metrics()])).join(''),
    },
    volumes: () => guarantee.live(),
    path: (question) => inspectPath(question, paths),
    probe: (question) => probeFrom(question, paths),
    check: async () => [...problemsOf(registration.spec), ...(await trunks.findProblems())],
    snapshotBlocks: (uid, offset, length) => storage.snapshotBlocks(uid, offset, length),
    acceptLimits: (message, speaker) => receiving.accept(message, speaker),
  })
  const parts: Part[] = [
    { name: 'store', start: () => {}, stop: () => store.close() },
    { name: 'journal', start: () => {}, stop: () => journal.close() },
    { name: 'engine', start: () => engine.start(), stop: () => engine.stop() },
    ...(hostPath ? [hostPath] : []),
    { name: 'attachments', start: () => attachments.start(), stop: () => attachments.stop() },
    memory,
    receiving,
    { name: 'rates', start: () => rates.start(), stop: () => rates.stop() },
    trunks,
    { name: 'duplicate watch', start: () => duplicates.start(), stop: () => duplicates.stop() },
    { name: 'endpoint conditions', start: () => conditions.start(), stop: () => conditions.stop() },
    { name: 'drift watch', start: () => drift.start(), stop: () => drift.stop() },
    storage,
    ...createCsi(options, server, storage),
    guarantee,
    api,
    createCniServer(config.cniSocket, createCniHandler(attachments, logger), logger, () => store.wake()),
    registration,
    uplinks,
    createFreeMemory(),
  ]
  const running = await startParts(parts, logger)
  logger.notice(
    { node: config.nodeName, version, cniSocket: config.cniSocket, api: api.address() },
    'the agent is ready',
  )
  return { address: api.address(), stop: running.stop }
}

/** Where the registration has from what it reports, and who hears of a new spec. */
interface RegistrationSources {
  found: () => FoundUplink[]
  problems: () => NodeProblem[]
  onSpecChange: (spec: Node['spec']) => void
  onNode: (node: Node) => void
}

function createRegistration(
  { config, logger }: AgentOptions,
  store: ResourceStore,
  { found, problems, onSpecChange, onNode }: RegistrationSources,
): NodeRegistration {
  return new NodeRegistration({
    store,
    nodeName: config.nodeName,
    spec: config.node,
    specFile: join(config.stateDirectory, 'node.json'),
    report() {
      const uplinks = found()
      const { carrier, mtu, linkRate } = podsUplink(uplinks)
      const address = config.advertise ?? `${config.listen.host}:${config.listen.port}`
      const hostAddresses = config.hostPath && { hostAddresses: config.hostPath.nodeAddresses }
      return { address, version, linkRate, mtu, carrier, ...hostAddresses, uplinks, problems: problems() }
    },
    onSpecChange,
    onNode,
    logger,
  })
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

function createDriftWatch(
  { config, logger }: AgentOptions,
  store: ResourceStore,
  engine: NetworkEngine,
  attachments: Attachments,
): DriftWatch {
  const { nodeName } = config
  return new DriftWatch({
    nodeName,
    engine,
    attached: () => attachments.attached(),
    attachAgain: (endpointId) => attachments.attachAgain(endpointId),
    events: new EventRecorder(store, { controller: 'carbonado.io/agent', instance: nodeName }, logger),
    logger,
  })
}

function authenticateBy({ tokensFile, visitors, peers }: Readonly<AgentConfig>, store: RestStore): Authenticate {
  let known: Authenticate = tokensFile === undefined ? () => undefined : loadBearerTokens(tokensFile)
  const options = { strangers: new Set<Promise<unknown>>() }
  if (peers?.serviceAccount !== undefined) known = withPeerTokens(known, store, peers.serviceAccount, options)
  if (visitors === undefined) return known
  return withMetricsReaders(withVisitors(known, createVisitorCheck(store, visitors, options)), store, options)
}

function lostEndpointProblem(name: string): NodeProblem {
  return {
    reason: 'EndpointWithoutObject',
    message: `endpoint ${name} is attached but its Endpoint object is gone, so its addresses may be given to others`,
    remedy: 'Restart the container that uses it; do not remove the finalizer of an Endpoint that is attached.',
  }
}
