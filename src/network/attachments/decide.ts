import { attachmentFinalizer, isDecidedAbout, isOwnedByPod, type Allocation, type Endpoint } from '../../api/index.ts'
import type { AttachedEndpoint, AttachRequest } from '../engine.ts'
import { cniNetworkAnnotation, netnsAnnotation, routingAnnotation } from './endpoint-facts.ts'
import type { JournalRecord } from './journal.ts'
import type { NetnsState } from './netns.ts'

/** What is known about one endpoint when it is reconciled. */
export interface Situation {
  nodeName: string
  record: JournalRecord | undefined
  /** The Endpoint of that uid as the node's informer has it. */
  object: Endpoint | undefined
  /** Whether an ADD is at work on the object right now. */
  isAdding: boolean
  /** Whether the informer has seen the store at all. */
  isSynced: boolean
  /** Whether the kernel was found without the datapath although the journal has it attached. */
  isMissing: boolean
  /** Whether it is a child whose primary interface has gone. */
  isOrphan: boolean
}

/** Floor and cap in bits per second. */
export type Rates = Pick<AttachRequest, 'bandwidthFloor' | 'bandwidthCap'>

/** The next step towards what should be. After each but `nothing` and `lost` the endpoint is looked at again. */
export type Step =
  | { step: 'nothing' }
  /** Attached without an object in the store: nobody guards the addresses any more. */
  | { step: 'lost' }
  | { step: 'mark-removing' }
  | { step: 'detach' }
  /** Tell the store that the container no longer has it, then forget it. */
  | { step: 'release' }
  /** The store has an endpoint for this node that nobody here knows: nobody was told that it exists. */
  | { step: 'release-unknown' }
  | { step: 'adopt' }
  | { step: 'repair' }
  | { step: 'shape'; rates: Rates }
  | { step: 'report' }

/** Decides the next step for one endpoint; a pure function. */
export function nextStep(situation: Situation): Step {
  const { record, isAdding } = situation
  if (!record) return stepForUnknown(situation)
  switch (record.state) {
    case 'removing':
      return { step: 'detach' }
    case 'detached':
      return { step: 'release' }
    case 'attaching':
      return isAdding ? { step: 'nothing' } : { step: 'mark-removing' }
    case 'found':
      return stepForFound(situation)
    case 'attached':
      return isAdding ? { step: 'nothing' } : stepForAttached(situation, record)
  }
}

function stepForUnknown({ object, isAdding, isSynced, nodeName }: Situation): Step {
  if (!object || isAdding || !isSynced || object.spec.nodeName !== nodeName) return { step: 'nothing' }
  // of a pod, and waits for its sandbox: it goes with the pod
  const isWaiting = !object.spec.holder && !object.metadata.finalizers?.includes(attachmentFinalizer)
  if (isWaiting && isOwnedByPod(object)) return { step: 'nothing' }
  return { step: 'release-unknown' }
}

function stepForFound({ object, isSynced, nodeName }: Situation): Step {
  if (!isSynced) return { step: 'nothing' }
  const isClaimed = object?.spec.nodeName === nodeName && object.spec.holder && !object.metadata.deletionTimestamp
  return { step: isClaimed ? 'adopt' : 'mark-removing' }
}

function stepForAttached(situation: Situation, record: JournalRecord): Step {
  const { object, isSynced, isMissing, isOrphan, nodeName } = situation
  if (object?.metadata.deletionTimestamp !== undefined || isOrphan) return { step: 'mark-removing' }
  if (isMissing) return { step: 'repair' }
  if (!isSynced) return { step: 'nothing' }
  if (!object || object.spec.nodeName !== nodeName) return { step: 'lost' }
  const rates = changedRates(object, record.request)
  if (rates) return { step: 'shape', rates }
  const reported = object.status?.attachment
  const isReported = reported?.containerId === record.containerId && reported.hostInterface === record.hostInterface
  return { step: isReported ? 'nothing' : 'report' }
}

/** The rates of a decision that is up to date and differs; a refusal leaves what was promised before. */
function changedRates(endpoint: Endpoint, request: AttachRequest): Rates | undefined {
  const decision = endpoint.status?.allocation
  if (decision?.state !== 'Allocated' || !isDecidedAbout(endpoint)) return undefined
  const { bandwidthFloor, bandwidthCap } = decision
  if (bandwidthFloor === request.bandwidthFloor && bandwidthCap === request.bandwidthCap) return undefined
  return ratesOf(decision)
}

/** Floor and cap of an allocation, without keys for what is absent. */
export function ratesOf({ bandwidthFloor, bandwidthCap }: Allocation): Rates {
  return { bandwidthFloor, ...(bandwidthCap === undefined ? {} : { bandwidthCap }) }
}

/** What a journal says and what the kernel has, at the start of the agent. */
export interface StartSituation {
  records: JournalRecord[]
  kernel: AttachedEndpoint[]
  isFromEarlierBoot: boolean
  netnsState: (path: string) => NetnsState
}

/** What to do about it: records to write, and attached endpoints to attach again. */
export interface StartPlan {
  changed: JournalRecord[]
  missing: string[]
}

/**
 * Compares journal and kernel without the store; a pure function. What was being attached was never answered and is
 * undone; of an earlier boot nothing is left; what is attached and missing is repaired while its namespace exists.
 */
export function planStart({ records, kernel, isFromEarlierBoot, netnsState }: StartSituation): StartPlan {
  const inKernel = new Set(kernel.map(({ endpointId }) => endpointId))
  const known = new Set(records.map(({ endpointId }) => endpointId))
  const plan: StartPlan = { changed: [], missing: [] }
  for (const record of records) {
    if (record.state === 'removing' || record.state === 'detached') continue
    const isWhole = record.state !== 'attaching' && !isFromEarlierBoot && inKernel.has(record.endpointId)
    if (isWhole) continue
    const isRepairable =
      record.state === 'attached' && !isFromEarlierBoot && netnsState(record.request.netns) === 'network-namespace'
    if (isRepairable) plan.missing.push(record.endpointId)
    else plan.changed.push({ ...record, state: 'removing' })
  }
  for (const attached of kernel) if (!known.has(attached.endpointId)) plan.changed.push(foundRecord(attached))
  return plan
}

/** A record of something that only the kernel knew. The kernel keeps no prefix lengths: the store has them. */
function foundRecord(attached: AttachedEndpoint): JournalRecord {
  const { hostInterface, addresses, ...facts } = attached
  const [namespace = '', name = ''] = attached.endpointName.split('/')
  const withPrefix = addresses.map((address) => ({ address, prefixLength: address.includes(':') ? 128 : 32 }))
  return {
    state: 'found',
    endpointId: attached.endpointId,
    namespace,
    name,
    containerId: attached.containerId,
    interfaceName: attached.interfaceName,
    networkName: '',
    request: { ...facts, netns: '', addresses: withPrefix },
    hostInterface,
    mtu: attached.mtu,
  }
}

/** The record of a found endpoint once its object tells the rest. */
export function adoptedRecord(record: JournalRecord, object: Endpoint, since: string): JournalRecord {
  const annotations = object.metadata.annotations ?? {}
  const decision = object.status?.allocation
  const { bandwidthFloor, bandwidthCap, mtu: _mtu, ...kept } = record.request
  const request: AttachRequest = {
    ...kept,
    netns: annotations[netnsAnnotation] ?? '',
    bandwidthFloor,
    ...(bandwidthCap === undefined ? {} : { bandwidthCap }),
  }
  if (decision?.state === 'Allocated') {
    request.addresses = decision.addresses
    if (decision.mtu !== undefined) request.mtu = decision.mtu
  }
  Object.assign(request, routingOf(annotations[routingAnnotation]))
  const cniNetwork = annotations[cniNetworkAnnotation]
  const { networkName, holder } = object.spec
  const primaryInterface = holder?.primaryInterface
  return {
    ...record,
    state: 'attached',
    networkName,
    request,
    since,
    ...(cniNetwork ? { cniNetwork } : {}),
    ...(primaryInterface ? { primaryInterface } : {}),
  }
}

/** What the annotation says; nothing when somebody damaged it. */
function routingOf(text = '{}'): Pick<AttachRequest, 'defaultRouteMetric' | 'routingTable'> {
  try {
    const { defaultRouteMetric, routingTable } = JSON.parse(text) as Record<string, unknown>
    return {
      ...(typeof defaultRouteMetric === 'number' ? { defaultRouteMetric } : {}),
      ...(typeof routingTable === 'number' ? { routingTable } : {}),
    }
  } catch {
    return {}
  }
}
