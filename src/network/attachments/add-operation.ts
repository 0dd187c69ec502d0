import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Allocation } from '../../api/index.ts'
import { asCarbonadoError, CarbonadoError, Conflict, Unavailable, type Logger } from '../../base/index.ts'
import type { AttachRequest, EndpointRoute, NetworkEngine } from '../engine.ts'
import { ratesOf } from './decide.ts'
import { isSameHolder, type BoundEndpoint } from './endpoint-facts.ts'
import type { EndpointObjects, Patience } from './endpoint-objects.ts'
import type { Journal, JournalRecord } from './journal.ts'
import { planInterfaces, withTables, type InterfaceRequest } from './plan-interfaces.ts'
import type { EndpointReconciler } from './reconciler.ts'
import type { AddRequest } from './wish.ts'

/** What an ADD works with. */
export interface AddParts {
  journal: Journal
  engine: NetworkEngine
  objects: EndpointObjects
  reconciler: EndpointReconciler
  patience: Patience
  logger: Logger
  hostPath: { routesFor(networkName: string): Promise<EndpointRoute[]> } | undefined
}

/** An interface of the ADD with the endpoint that it gets. */
interface Bound {
  planned: InterfaceRequest
  /** What the store is going to answer, to prepare for. */
  likely: BoundEndpoint
  /** What it answered. */
  certain: Promise<BoundEndpoint>
}

/**
 * Attaches all interfaces that an ADD asks for, side by side, and returns their records, the primary first. When one of
 * them cannot be had, none is attached, and the error says which and why.
 */
export async function addInterfaces(parts: AddParts, request: AddRequest): Promise<JournalRecord[]> {
  using holds = new DisposableStack()
  const present = parts.journal.all().filter(({ containerId }) => containerId === request.containerId)
  const neighbours = withTables(present.filter(({ state }) => state === 'attached'))
  const planned = planInterfaces(request, neighbours)
  const bound = await bindAll(parts, planned, holds)
  const confirmed = forEach(planned, async (_, index) => requireSame(bound[index]!))
  confirmed.catch(() => {}) // the engine waits for it, unless it fails before
  const records = await decidedRecords(parts, bound, request)
  refuseSameAddress([...neighbours, ...records])
  try {
    parts.journal.putAll(records)
    const whole = await attachAll(parts, planned, records, confirmed)
    await routeNeighbours(parts, neighbours)
    parts.journal.putAll(whole)
    return whole // the reconciler, who is held off until then, tells control
  } catch (error) {
    await undo(parts, records)
    for (const record of records) parts.reconciler.requeue(record)
    throw error
  }
}

async function bindAll(parts: AddParts, planned: InterfaceRequest[], holds: DisposableStack): Promise<Bound[]> {
  const binding = forEach(planned, async (each) => {
    const likely = Promise.withResolvers<BoundEndpoint>()
    const certain = bind(parts, each, holds, likely.resolve)
    certain.then(likely.resolve, likely.reject)
    return { planned: each, likely: await likely.promise, certain }
  })
  binding.catch(() => {}) // awaited below
  await nextTurn() // by then control has been asked, and finds addresses meanwhile
  for (const each of planned) holds.use(parts.engine.prepare(each))
  return binding
}

/** What was prepared for must be what came; anything else is a defect of the server. */
async function requireSame({ likely, certain }: Bound): Promise<void> {
  const bound = await certain
  const [now, then] = [bound.answered.status?.allocation, likely.answered.status?.allocation]
  // what was not decided then has come from the store since
  if (bound.uid === likely.uid && (then === undefined || isDeepStrictEqual(now, then))) return
  throw new Unavailable(`endpoint ${likely.reference.name} changed while it was being attached`, {
    remedy: 'Try again.',
  })
}

/** Binding takes an endpoint that nobody else can take; the reconciler keeps off it until the ADD is over. */
async function bind(
  parts: AddParts,
  planned: InterfaceRequest,
  holds: DisposableStack,
  onLikely: (likely: BoundEndpoint) => void,
): Promise<BoundEndpoint> {
  const { reconciler, objects, patience } = parts
  const { wish } = planned
  if (wish.kind === 'any-static') {
    return objects.bindAny({ ...planned, wish }, (reference) => holds.use(reconciler.hold(reference)))
  }
  const reference = objects.referenceFor(planned)
  holds.use(reconciler.hold(reference))
  const isSameObject = (record: JournalRecord): boolean =>
    record.namespace === reference.namespace && record.name === reference.name
  if (wish.kind === 'static') {
    await reconciler.whenForgotten((record) => isSameObject(record) && isSameHolder(record, planned), patience.release)
    return objects.bind(planned)
  }
  if (objects.ownerFor(planned)) {
    await reconciler.whenForgotten((record) => isSameObject(record) && isSameHolder(record, planned), patience.release)
    return objects.bindOfPod(planned, onLikely)
  }
  await reconciler.whenForgotten(isSameObject, patience.release)
  try {
    return await objects.create(planned, onLikely)
  } catch (error) {
    if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
    return createInPlaceOfLeftover(objects, planned, error)
  }
}

/** The name is taken: by what a crashed or late ADD of this very interface left, which nobody was told about. */
async function createInPlaceOfLeftover(
  objects: EndpointObjects,
  planned: InterfaceRequest,
  conflict: CarbonadoError,
): Promise<BoundEndpoint> {
  const leftover = await objects.read(objects.referenceFor(planned))
  const holder = leftover?.spec.holder
  if (leftover && (!holder || !isSameHolder(holder, planned))) throw conflict
  if (leftover) await objects.release(objects.referenceFor(planned), leftover.metadata.uid!, planned)
  return objects.create(planned)
}

/** Waits for control's decisions and for earlier holders of the same static endpoints to leave the journal. */
async function decidedRecords(parts: AddParts, bound: Bound[], request: AddRequest): Promise<JournalRecord[]> {
  const { objects, reconciler, patience } = parts
  return forEach(
    bound.map(({ planned }) => planned),
    async (planned, index) => {
      const { likely } = bound[index]!
      const allocation = await objects.waitForAllocation(likely)
      // an earlier holder of the same static endpoint leaves the journal a moment after it left the store
      await reconciler.whenForgotten(({ endpointId }) => endpointId === likely.uid, patience.release)
      const routes = await routesOf(parts, planned, likely)
      return newRecord(bound[index]!, allocation, routes, planned.primaryInterface === undefined ? request : undefined)
    },
  )
}

/** Only the interface that a pod is known by leads to Services: its address is the one that those see. */
async function routesOf(parts: AddParts, planned: InterfaceRequest, bound: BoundEndpoint): Promise<EndpointRoute[]> {
  const isKnownBy = planned.pod !== undefined && planned.interfaceName === 'eth0'
  return (isKnownBy && (await parts.hostPath?.routesFor(bound.networkName))) || []
}

/** Networks may have the same subnet; one container cannot tell two interfaces of the same address apart. */
function refuseSameAddress(records: JournalRecord[]): void {
  const seen = new Map<string, string>()
  for (const { interfaceName, request } of records) {
    for (const { address } of request.addresses) {
      const other = seen.get(address)
      seen.set(address, interfaceName)
      if (other === undefined) continue
      throw new Conflict(`interfaces ${other} and ${interfaceName} would both have the address ${address}`, {
        remedy: 'Use networks whose ranges do not overlap, or static endpoints with certain addresses.',
      })
    }
  }
}

/** What is likely is prepared; from when all of it is certain the interfaces can send and receive. */
async function attachAll(
  { reconciler }: AddParts,
  planned: InterfaceRequest[],
  records: JournalRecord[],
  confirmed: Promise<unknown>,
): Promise<JournalRecord[]> {
  try {
    return await forEach(planned, async (_, index) => {
      const record = records[index]!
      const { hostInterface, mtu } = await reconciler.withEngine(record.endpointId, (engine) =>
        engine.attach(record.request, confirmed),
      )
      return { ...record, state: 'attached', hostInterface, mtu, since: new Date().toISOString() } as const
    })
  } catch (error) {
    await confirmed // says itself which interface it was
    throw error
  }
}

/** Gives what the container had alone until now a routing table of its own. */
async function routeNeighbours({ reconciler, journal }: AddParts, neighbours: JournalRecord[]): Promise<void> {
  for (const record of neighbours) {
    await reconciler.withEngine(record.endpointId, async (engine) => {
      if (journal.get(record.endpointId)?.state !== 'attached') return
      journal.put(record)
      await engine.attach(record.request)
    })
  }
}

/** Takes back what a failed ADD did to the kernel; the objects follow in the background. */
async function undo({ journal, reconciler, logger }: AddParts, records: JournalRecord[]): Promise<void> {
  journal.putAll(records.map((record) => ({ ...record, state: 'removing' })))
  const detached = await Promise.allSettled(records.map(({ endpointId }) => reconciler.detach(endpointId)))
  for (const outcome of detached) {
    if (outcome.status === 'rejected') {
      logger.warn({ err: outcome.reason as Error }, 'undoing an ADD failed; it will be tried again')
    }
  }
}

/** Does the work for all interfaces side by side, and lets each come to its end. Throws for the first that failed. */
async function forEach<T>(
  planned: InterfaceRequest[],
  work: (each: InterfaceRequest, index: number) => Promise<T>,
): Promise<T[]> {
  const outcomes = await Promise.allSettled(planned.map(work))
  return outcomes.map((outcome, index) => {
    if (outcome.status === 'fulfilled') return outcome.value
    throw planned.length === 1 ? outcome.reason : aboutInterface(planned, index, outcome.reason)
  })
}

function aboutInterface(planned: InterfaceRequest[], index: number, thrown: unknown): CarbonadoError {
  const { code, message, remedy, details } = asCarbonadoError(thrown)
  const { interfaceName } = planned[index]!
  return new CarbonadoError(
    code,
    `interface ${interfaceName} (endpoint${index}): ${message}; so none of the ${planned.length} interfaces is attached`,
    { remedy, details, cause: thrown },
  )
}

function newRecord(
  { likely, planned }: Bound,
  allocation: Allocation,
  routes: EndpointRoute[],
  add: AddRequest | undefined,
): JournalRecord {
  const { namespace, name } = likely.reference
  const { containerId, interfaceName, cniNetwork, netns, primaryInterface, defaultRouteMetric, routingTable } = planned
  const { addresses, macAddress, vlan, mtu } = allocation
  const attach: AttachRequest = {
    endpointId: likely.uid,
    endpointName: `${namespace}/${name}`,
    containerId,
    netns,
    interfaceName,
    macAddress,
    addresses,
    vlan,
    ...(mtu === undefined ? {} : { mtu }),
    ...ratesOf(allocation),
    ...(defaultRouteMetric === undefined ? {} : { defaultRouteMetric }),
    ...(routingTable === undefined ? {} : { routingTable }),
    ...(routes.length === 0 ? {} : { routes }),
  }
  return {
    state: 'attaching',
    endpointId: likely.uid,
    namespace,
    name,
    containerId,
    interfaceName,
    networkName: likely.networkName,
    cniNetwork,
    request: attach,
    ...(primaryInterface === undefined ? {} : { primaryInterface }),
    ...(add ? { add: withoutUndefined(add) } : {}),
  }
}

/** As it will be after a round through the journal. */
export function withoutUndefined(request: AddRequest): AddRequest {
  return JSON.parse(JSON.stringify(request)) as AddRequest
}
