import {
  Drive,
  Endpoint,
  Event,
  Node,
  Plex,
  Snapshot,
  SnapshotGroup,
  Volume,
  VolumeAttachment,
  type KindDefinition,
} from '../api/index.ts'
import { Forbidden } from '../base/index.ts'
import type { WriteGuard } from '../store/index.ts'
import { holdToOwnNode } from './agent-limits.ts'
import type { Caller } from './tokens.ts'

/** What is done to an object: `status` writes status only. */
export type Verb = 'read' | 'create' | 'update' | 'status' | 'delete'

const agentWrites: { kind: KindDefinition; verbs: Verb[] }[] = [
  { kind: Endpoint, verbs: ['create', 'update', 'status', 'delete'] },
  { kind: Node, verbs: ['create', 'status'] },
  { kind: Event, verbs: ['create', 'update'] },
  { kind: Drive, verbs: ['create', 'status'] },
  { kind: Plex, verbs: ['update', 'status'] },
  { kind: VolumeAttachment, verbs: ['create', 'update', 'status', 'delete'] },
]

/** What the CSI controller service writes, wherever it runs. */
const provisionerWrites: { kind: KindDefinition; verbs: Verb[] }[] = [
  { kind: Volume, verbs: ['create', 'update', 'delete'] },
  { kind: Snapshot, verbs: ['create', 'delete'] },
  { kind: SnapshotGroup, verbs: ['create', 'delete'] },
  { kind: VolumeAttachment, verbs: ['create', 'delete'] },
]

/** Whether a role may do this: everybody reads; viewers nothing else; only admins take nodes away or touch plexes. */
export function mayDo({ role }: Caller, verb: Verb, kind: KindDefinition): boolean {
  if (verb === 'read' || role === 'admin') return true
  if (role === 'operator') return kind.kind !== Plex.kind && !(kind.kind === Node.kind && verb === 'delete')
  const writes = role === 'agent' ? agentWrites : role === 'provisioner' ? provisionerWrites : []
  return writes.some((entry) => entry.kind.kind === kind.kind && entry.verbs.includes(verb))
}

/** What is asked inside each write of the caller, beside `demand`: an agent writes only what is on its own node. */
export function guardOf({ role, nodeName, user }: Caller): WriteGuard | undefined {
  return role === 'agent' ? (write) => holdToOwnNode(nodeName ?? '', user, write) : undefined
}

/** Throws Forbidden unless the caller is an operator or an administrator. */
export function demandOperator({ role, user }: Caller, what: string): void {
  if (role === 'admin' || role === 'operator') return
  throw new Forbidden(`User "${user}" (${role}) may not ${what}`, { remedy: 'Use the token of an operator.' })
}

/** Throws Forbidden unless the caller is an administrator. */
export function demandAdministrator({ role, user }: Caller, what: string): void {
  if (role === 'admin') return
  throw new Forbidden(`User "${user}" (${role}) may not ${what}`, { remedy: 'Use the token of an administrator.' })
}

/** Throws Forbidden when the caller may not do this. */
export function demand(caller: Caller, verb: Verb, kind: KindDefinition): void {
  if (mayDo(caller, verb, kind)) return
  const what = verb === 'status' ? `write the status of ${kind.plural}` : `${verb} ${kind.plural}`
  throw new Forbidden(`User "${caller.user}" (${caller.role}) may not ${what}`, {
    remedy: 'Use a token whose role allows it.',
  })
}
