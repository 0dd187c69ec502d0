import { Drive, Plex, apiVersionOf } from '../../api/index.ts'
import { asCarbonadoError, CarbonadoError, Conflict, type Logger, type ReconcileResult } from '../../base/index.ts'
import { findObject, isNotFound, type EventRecorder, type Informer, type ResourceStore } from '../../store/index.ts'
import { driveName } from '../plex-names.ts'
import type { Pool, PoolFormat } from '../pool-format.ts'
import type { BlockDevice } from './block-device.ts'
import type { Calibrate } from './calibration.ts'
import { derivedId } from './derived-id.ts'
import type { OpenPools } from './open-pools.ts'
import type { PoolMeter } from './pool-meter.ts'

type DriveReport = NonNullable<NonNullable<Drive['status']>['agent']>
type FormatRequest = NonNullable<Drive['spec']['format']>

/** What the drive reconciler works with. */
export interface DriveReconcilerParts {
  nodeName: string
  store: ResourceStore
  drives: Informer<Drive>
  pools: OpenPools
  inspect: (device: string) => Promise<BlockDevice>
  calibrate: Calibrate
  recorder: EventRecorder
  meter: PoolMeter
  /** Ids of all entries that objects tell of. */
  knownEntries: () => Set<string>
  logger: Logger
  /** Told when a pool was opened, closed or measured. */
  onChange: (driveName: string) => void
}

/** Milliseconds between measurements of a pool that nothing changes. */
const measureInterval = 30_000
/** Milliseconds until a drive that is missing or cannot be opened is looked at again. */
const missingInterval = 10_000
/** Milliseconds until a drive is looked at again whose request was refused before its pool, if any, was opened. */
const answeredRetry = 20

const optionalFields = ['model', 'serial', 'requestId', 'refused', 'message', 'pool', 'calibration'] as const

/**
 * Brings the drives of this node in line with their objects: opens pools, formats drives that are to be formatted, and
 * says what is there.
 *
 * **Why nothing is overwritten by mistake.** A format request has an id, and the pool that it makes has an id that
 * follows from it: when that pool is there, the request is done. `Formatting` is written before the first byte, so that
 * after a crash only a drive that was found fit before is formatted on without looking again: the disk that was told of
 * then, by serial, model and size, because the names of disks change with a boot. Everything else on a drive needs `force`
 * in that very request, and what is mounted or held by another part of the system is never touched.
 */
export class DriveReconciler {
  readonly #parts: DriveReconcilerParts

  constructor(parts: DriveReconcilerParts) {
    this.#parts = parts
  }

  /** Makes the object of a drive that has none. */
  async register(device: string): Promise<void> {
    const { store, nodeName } = this.#parts
    const name = driveName(nodeName, device)
    if (this.#parts.drives.get({ name })) return
    const object: Drive = {
      apiVersion: apiVersionOf(Drive),
      kind: Drive.kind,
      metadata: { name },
      spec: { nodeName, device },
    }
    await store.create(Drive, object).catch((error: unknown) => {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
    })
  }

  /** Finds out which pool is on a drive, without opening it. */
  async look({ metadata, spec }: Drive): Promise<void> {
    try {
      const device = await this.#parts.inspect(spec.device)
      await this.#parts.pools.probe(metadata.name, device.node)
    } catch (error) {
      this.#parts.logger.debug({ err: error, drive: metadata.name }, 'the drive cannot be looked at')
    }
  }

  /** Looks at one drive. */
  async reconcile(name: string): Promise<ReconcileResult> {
    // the view in memory may be older than this agent's own last word about the drive
    const drive = await findObject(this.#parts.store, Drive, { name })
    if (!drive || drive.metadata.deletionTimestamp) {
      await this.#parts.pools.close(name)
      return { done: true }
    }
    this.#parts.meter.seen(drive.status?.agent?.pool)
    const { format: request } = drive.spec
    const { agent } = drive.status ?? {}
    const isMade = agent?.requestId === request?.requestId && agent?.state !== 'Formatting'
    const isAnswered = isMade || agent?.refused?.requestId === request?.requestId
    if (request && !isAnswered) return this.#format(drive, request)
    return this.#present(drive)
  }

  /** Opens the pool of a drive that has one, and reports. */
  async #present(drive: Drive): Promise<ReconcileResult> {
    const { pools, inspect } = this.#parts
    const { name } = drive.metadata
    if (pools.get(name)) return this.#reportReady(drive, {})
    const device = await inspect(drive.spec.device).catch(missing)
    if ('problem' in device) {
      await pools.close(name) // its pool may be found on another drive now
      return this.#reportMissing(drive, device.problem)
    }
    const probed = await pools.probe(name, device.node)
    if (!probed) {
      this.#parts.onChange(name)
      const state = device.found.length > 0 || device.inUse !== undefined ? 'Foreign' : 'Blank'
      await this.#report(drive, { ...factsOf(device), state, ...keptRefusal(drive) })
      return { done: true }
    }
    return this.#openPool(drive, device, probed.format, probed.id)
  }

  async #openPool(drive: Drive, device: BlockDevice, format: PoolFormat, id: string): Promise<ReconcileResult> {
    const { pools } = this.#parts
    const { name } = drive.metadata
    const twin = pools.twinOf(name, id)
    if (twin !== undefined) {
      const text = `it has a pool with the same id as drive ${twin}: one is a copy of the other, and neither can be told to be the right one`
      return this.#reportFailed(drive, device, 'PoolTwice', `${text}; unplug the copy`)
    }
    try {
      await pools.open(name, format, device.node)
    } catch (error) {
      return this.#reportFailed(
        drive,
        device,
        'PoolNotOpened',
        `its pool cannot be opened: ${asCarbonadoError(error).message}`,
      )
    }
    this.#parts.onChange(name)
    return this.#reportReady(drive, factsOf(device))
  }

  async #format(drive: Drive, request: FormatRequest): Promise<ReconcileResult> {
    const { pools, inspect } = this.#parts
    const { name, uid } = drive.metadata
    const id = derivedId('pool', uid!, request.requestId)
    const device = await inspect(drive.spec.device).catch(missing)
    const { agent } = drive.status ?? {}
    const told = agent?.state === 'Formatting' && agent.requestId === request.requestId ? agent : undefined
    if ('problem' in device) {
      return told ? this.#awaitDevice(drive, told, device.problem) : this.#reportMissing(drive, device.problem)
    }
    const isBegun = told !== undefined && isSameDisk(told, device)
    const open = pools.get(name) ?? (await this.#openIfMade(drive, device, id))
    if (open?.id !== id) {
      const refusal = isBegun
        ? mountedRefusal(device)
        : await this.#refusalOf(drive, device, told ? { ...request, force: false } : request, open)
      if (refusal) return this.#answer(drive, device, request, refusal.message)
      const format = await this.#formatFor(request)
      if (format instanceof CarbonadoError) return this.#answer(drive, device, request, format.message)
      if (!isBegun) await this.#reportStep(drive, device, request, 'making the pool')
      await pools.close(name)
      await format.format(device.node, { id })
      await pools.open(name, format, device.node)
    }
    return this.#finish(drive, device, request, pools.get(name)!)
  }

  /** Opens the pool of this very request when it was made before a crash. */
  async #openIfMade(drive: Drive, device: BlockDevice, id: string): Promise<Pool | undefined> {
    const { pools } = this.#parts
    const { name } = drive.metadata
    const probed = await pools.probe(name, device.node)
    return probed?.id === id ? pools.open(name, probed.format, device.node) : undefined
  }

  /** Why a drive is not formatted; undefined when it may be. */
  async #refusalOf(
    drive: Drive,
    device: BlockDevice,
    request: FormatRequest,
    open: Pool | undefined,
  ): Promise<CarbonadoError | undefined> {
    const { name } = drive.metadata
    if (!open && device.inUse !== undefined) return inUseRefusal(device.inUse)
    const volumes = await this.#volumesOn(name)
    if (volumes.length > 0) {
      return new Conflict(`it has volumes, and --force does not overrule this: ${volumes.join(', ')}`)
    }
    if ((await open?.active())?.length) return new Conflict(`volumes of the pool on drive ${name} are in use`)
    const entries = (await open?.list()) ?? []
    const pool = open ? [`the pool ${open.id} with ${entries.length} volumes and snapshots`] : []
    const found = [...pool, ...device.found]
    if (found.length === 0 || request.force) return undefined
    return new Conflict(`there is data on it: ${found.join('; ')}. Formatting destroys all of it; --force does so`)
  }

  /** From the store: a volume may have been placed at the very moment in which the format was asked for. */
  async #volumesOn(driveName: string): Promise<string[]> {
    const { store, nodeName } = this.#parts
    const { items } = await store.list(Plex, { fieldSelector: `spec.nodeName=${nodeName}` })
    return items.filter(({ spec }) => spec.driveName === driveName).map(({ spec }) => spec.volumeName)
  }

  async #formatFor({ poolFormat }: FormatRequest): Promise<PoolFormat | CarbonadoError> {
    const reasons: string[] = []
    for (const format of this.#parts.pools.formats) {
      if (poolFormat !== undefined && format.name !== poolFormat) continue
      const reason = await format.unsupportedReason()
      if (reason === undefined) return format
      reasons.push(`${format.name}: ${reason}`)
    }
    return new Conflict(reasons.length > 0 ? reasons.join('; ') : `this node does not know the format ${poolFormat}`)
  }

  /** Calibrates the new pool and reports. A drive that cannot be measured promises no IOPS. */
  async #finish(drive: Drive, device: BlockDevice, request: FormatRequest, pool: Pool): Promise<ReconcileResult> {
    await this.#reportStep(drive, device, request, 'measuring what the drive can give')
    const facts = { ...factsOf(device), found: [], requestId: request.requestId }
    this.#parts.onChange(drive.metadata.name)
    try {
      return await this.#reportReady(drive, {
        ...facts,
        calibration: await this.#parts.calibrate(pool),
        message: undefined,
      })
    } catch (error) {
      const why = `it could not be measured, so no IOPS can be promised on it: ${asCarbonadoError(error).message}`
      this.#parts.logger.warn({ err: error, drive: drive.metadata.name }, 'the drive could not be measured')
      return this.#reportReady(drive, { ...facts, calibration: undefined, message: why })
    }
  }

  /** The pool measured now, with what was known of the drive before and `news` over it. */
  async #reportReady(drive: Drive, news: Partial<DriveReport>): Promise<ReconcileResult> {
    const pool = this.#parts.pools.get(drive.metadata.name)!
    const before = drive.status?.agent
    const kept: Partial<DriveReport> =
      before?.state === 'Ready' || before?.state === 'Missing' || before?.state === 'Failed'
        ? { ...before, message: before.state === 'Ready' ? before.message : undefined }
        : (before ?? {})
    try {
      const found = await this.#leftovers(drive, pool)
      const measured = await this.#parts.meter.measure(drive.metadata.name, pool, before?.pool)
      const report = { size: 0, ...kept, ...news, found, state: 'Ready', pool: measured }
      await this.#report(drive, report as DriveReport)
    } catch (error) {
      if (error instanceof CarbonadoError && (error.code === 'Unavailable' || error.code === 'Expired')) throw error
      return this.#reportUnreadable(drive, news, asCarbonadoError(error).message)
    }
    this.#parts.onChange(drive.metadata.name)
    return { requeueAfter: measureInterval }
  }

  /**
   * Entries of the pool that no object tells of. They are reported and never deleted: what was released in order is gone
   * before its object, so these belong to objects that were lost or taken away by force.
   */
  async #leftovers(drive: Drive, pool: Pool): Promise<string[]> {
    const known = this.#parts.knownEntries().add(derivedId('calibration', pool.id))
    const left = (await pool.list()).filter(({ id }) => !known.has(id))
    const found = left.map(({ id, kind, size }) => `a ${kind} of ${size} bytes without an object: ${id}`)
    const news = found.filter((each) => !drive.status?.agent?.found.includes(each))
    if (news.length > 0) this.#warn(drive, 'LeftOnDrive', `drive ${drive.metadata.name} has ${news.join('; ')}`)
    return found
  }

  /**
   * An open pool that does not answer: its drive may be broken. Nothing new is placed on it; what is in use is left alone,
   * and when nothing is, the pool is opened anew.
   */
  async #reportUnreadable(drive: Drive, news: Partial<DriveReport>, problem: string): Promise<ReconcileResult> {
    const before = drive.status?.agent
    const message = `its pool cannot be read: ${problem}`
    await this.#report(drive, { size: 0, found: [], ...before, ...news, state: 'Failed', message })
    if (before?.message !== message) this.#warn(drive, 'PoolNotReadable', message)
    const { pools } = this.#parts
    const active = await pools.get(drive.metadata.name)?.active().catch(() => undefined) // prettier-ignore
    if (active?.length === 0) await pools.close(drive.metadata.name)
    this.#parts.onChange(drive.metadata.name)
    return { requeueAfter: missingInterval }
  }

  /** A format that was begun goes on when its drive is back; until then nothing else is said of it. */
  async #awaitDevice(drive: Drive, told: DriveReport, problem: string): Promise<ReconcileResult> {
    await this.#report(drive, { ...told, message: `${problem}; the format goes on when it is back` })
    this.#parts.onChange(drive.metadata.name)
    return { requeueAfter: missingInterval }
  }

  async #reportMissing(drive: Drive, problem: string): Promise<ReconcileResult> {
    const before = drive.status?.agent
    await this.#report(drive, { size: 0, ...before, state: 'Missing', found: [], message: problem })
    if (before?.state !== 'Missing' && before?.pool) this.#warn(drive, 'DriveMissing', problem)
    this.#parts.onChange(drive.metadata.name)
    return { requeueAfter: missingInterval }
  }

  async #reportFailed(drive: Drive, device: BlockDevice, reason: string, message: string): Promise<ReconcileResult> {
    const before = drive.status?.agent
    await this.#report(drive, { ...before, ...factsOf(device), state: 'Failed', message })
    if (before?.message !== message) this.#warn(drive, reason, message)
    this.#parts.onChange(drive.metadata.name)
    return { requeueAfter: missingInterval }
  }

  /** Answers a request that is refused; the state goes on saying what is on the drive. */
  async #answer(
    drive: Drive,
    device: BlockDevice,
    { requestId }: FormatRequest,
    message: string,
  ): Promise<ReconcileResult> {
    this.#warn(drive, 'FormatRefused', `drive ${drive.metadata.name} was not formatted: ${message}`)
    const refused = { requestId, message }
    if (this.#parts.pools.get(drive.metadata.name)) return this.#reportReady(drive, { refused })
    const state = device.found.length > 0 || device.inUse !== undefined ? 'Foreign' : 'Blank'
    await this.#report(drive, { ...factsOf(device), state, refused })
    return { requeueAfter: answeredRetry } // it may have a pool, which is opened now
  }

  #reportStep(drive: Drive, device: BlockDevice, { requestId }: FormatRequest, message: string): Promise<void> {
    return this.#report(drive, { ...factsOf(device), state: 'Formatting', requestId, message })
  }

  async #report({ metadata, status }: Drive, report: DriveReport): Promise<void> {
    const cleared = Object.fromEntries(optionalFields.map((field) => [field, null]))
    const agent = { requestId: status?.agent?.requestId, ...withoutUndefined(report) }
    const patch = { metadata: { uid: metadata.uid }, status: { agent: { ...cleared, ...withoutUndefined(agent) } } }
    await this.#parts.store.patch(Drive, { name: metadata.name }, patch, { subresource: 'status' })
  }

  #warn({ metadata: { name, uid } }: Drive, reason: string, note: string): void {
    const regarding = { apiVersion: apiVersionOf(Drive), kind: Drive.kind, name, ...(uid === undefined ? {} : { uid }) }
    this.#parts.recorder.record({ regarding, type: 'Warning', reason, action: 'OpenDrive', note })
  }
}

function factsOf({
  size,
  model,
  serial,
  found,
}: BlockDevice): Pick<DriveReport, 'size' | 'model' | 'serial' | 'found'> {
  return { size, found, ...(model === undefined ? {} : { model }), ...(serial === undefined ? {} : { serial }) }
}

/** Whether a device is the disk that was reported, as far as it can be told. */
function isSameDisk(reported: DriveReport, device: BlockDevice): boolean {
  return (['serial', 'model', 'size'] as const).every((field) => reported[field] === device[field])
}

/** What holds a drive may be a pool of ours that a crash left half-made; that is never mounted. */
function mountedRefusal({ isMounted, inUse }: BlockDevice): Conflict | undefined {
  return isMounted ? inUseRefusal(inUse!) : undefined
}

function inUseRefusal(inUse: string): Conflict {
  return new Conflict(`${inUse}; a drive that is in use is never formatted, --force or not`)
}

function keptRefusal({ status }: Drive): Pick<DriveReport, 'refused'> {
  const refused = status?.agent?.refused
  return refused ? { refused } : {}
}

function missing(error: unknown): { problem: string } {
  if (isNotFound(error)) return { problem: error.message }
  throw error
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}
