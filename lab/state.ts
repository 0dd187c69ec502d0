import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NotFound } from '../src/base/index.ts'
import type { ContainerVolume } from './container-volumes.ts'
import { places } from './places.ts'
import { isRunning, type ProcessIdentity } from './processes.ts'

/** A host outside the cluster, behind the switch. */
export interface HostState {
  name: string
  /** VLAN of its access port; 0 is untagged. */
  vlan: number
  addresses: string[]
}

/** What a lab was asked to be. */
export interface LabState {
  phase: 'starting' | 'up' | 'stopping'
  /** Who starts it, or stops it. */
  starter: ProcessIdentity
  nodes: string[]
  /** Link rate of the nodes' ports in bits per second; null is no limit. */
  rate: number | null
  /** Bytes of the drive of each node. */
  driveSize: number
  /** Operations per second that each drive gives; null: what the machine's disk gives. */
  driveIops: number | null
  /** Without control and agents: switch and nodes only. */
  bare: boolean
  /** With an interface of its own for each plane. */
  planes: boolean
  /** With Kubernetes on the nodes. */
  kubernetes: boolean
}

/** A container that was started and not removed. */
export interface ContainerState {
  name: string
  node: string
  id: string
  podUid: string
  interfaceName: string
  namespace: string
  annotations: Record<string, string>
  /** Volumes that were published for it, or begun to be. */
  volumes?: ContainerVolume[]
  /** What ADD answered; absent while it runs. */
  result?: unknown
  /** It did not start, and could not be removed at once because DEL failed too. */
  failed?: boolean
  /** The container's first process on the host; absent until it runs. */
  process?: ProcessIdentity
}

/** The lab's state, or undefined when there is none. */
export function readLabState(): LabState | undefined {
  return readJson<LabState>(places.state)
}

/** The lab's state when it is up; NotFound otherwise. */
export function requireLab(): LabState {
  const state = readLabState()
  if (state?.phase === 'up') return state
  throw new NotFound(
    state ? 'the lab is not up: its start or its end was interrupted or still goes on' : 'the lab is not up',
    {
      remedy: 'Start it with: dctl lab up',
    },
  )
}

/** Writes a JSON file so that a reader or a crash never meets half of it. */
export function writeJson(file: string, value: unknown): void {
  mkdirSync(join(file, '..'), { recursive: true, mode: 0o700 })
  writeFileSync(`${file}.new`, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** Reads a JSON file; undefined when it is not there. */
export function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Objects of one sort, one JSON file each in a folder: several processes change different ones at the same time. */
class StateFolder<T> {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  get(name: string): T | undefined {
    return readJson<T>(this.#file(name))
  }

  has(name: string): boolean {
    return existsSync(this.#file(name))
  }

  set(name: string, value: T): void {
    writeJson(this.#file(name), value)
  }

  delete(name: string): void {
    rmSync(this.#file(name), { force: true })
  }

  list(): T[] {
    if (!existsSync(this.#folder)) return []
    const names = readdirSync(this.#folder)
      .filter((file) => file.endsWith('.json'))
      .sort()
    return names.flatMap((file) => readJson<T>(join(this.#folder, file)) ?? [])
  }

  #file(name: string): string {
    return join(this.#folder, `${name}.json`)
  }
}

/** Process 1 of each running machine, by machine name. */
export const machineStates = new StateFolder<ProcessIdentity>(places.machines)

/** Containers by name. */
export const containerStates = new StateFolder<ContainerState>(places.containers)

/** Hosts outside the cluster by name. */
export const hostStates = new StateFolder<HostState>(join(places.machines, '..', 'hosts'))

/** Running programs (`n1-agent`, `control`): the process that the program itself is. */
export const programStates = new StateFolder<ProcessIdentity>(join(places.machines, '..', 'programs'))

/** Whether a machine of the lab has power. */
export function isMachineRunning(name: string): boolean {
  const identity = machineStates.get(name)
  return identity !== undefined && isRunning(identity)
}

/** Process id on the host of a machine's process 1; NotFound when the machine does not run. */
export function machinePid(name: string): number {
  const identity = machineStates.get(name)
  if (identity && isRunning(identity)) return identity.pid
  throw new NotFound(`the lab has no running machine named "${name}"`, {
    remedy: readLabState()?.nodes.includes(name)
      ? `Start it again with: dctl lab start ${name}`
      : 'See what there is with: dctl lab status',
  })
}
