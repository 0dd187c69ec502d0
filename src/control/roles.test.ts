import { expect, test } from 'vitest'
import {
  AddressClaim,
  Drive,
  Endpoint,
  Event,
  Network,
  Node,
  PerfTier,
  Plex,
  Volume,
  VolumeAttachment,
  type KindDefinition,
} from '../api/index.ts'
import { mayDo, type Verb } from './roles.ts'
import type { Role } from './tokens.ts'

const kinds: KindDefinition[] = [
  ...[Node, Network, Endpoint, PerfTier, AddressClaim, Event],
  ...[Drive, Volume, Plex, VolumeAttachment],
]
const verbs: Verb[] = ['read', 'create', 'update', 'status', 'delete']
const may = (role: Role, verb: Verb, kind: KindDefinition): boolean => mayDo({ user: 'x', role }, verb, kind)

const allowed = (role: Role): string[] =>
  kinds.flatMap((kind) => verbs.filter((verb) => may(role, verb, kind)).map((verb) => `${verb} ${kind.kind}`))

test('admins do everything, operators all but delete nodes and write plexes', () => {
  expect(allowed('admin')).toHaveLength(kinds.length * verbs.length)
  const missing = allowed('admin').filter((entry) => !allowed('operator').includes(entry))
  expect(missing).toEqual(['delete Node', 'create Plex', 'update Plex', 'status Plex', 'delete Plex'])
})

test('viewers only read', () => {
  expect(allowed('viewer')).toEqual(kinds.map(({ kind }) => `read ${kind}`))
})

test('agents read everything and write endpoints, their Node, events, and what is on their drives', () => {
  expect(allowed('agent').filter((entry) => !entry.startsWith('read'))).toEqual([
    'create Node',
    'status Node',
    'create Endpoint',
    'update Endpoint',
    'status Endpoint',
    'delete Endpoint',
    'create Event',
    'update Event',
    'create Drive',
    'status Drive',
    'update Plex',
    'status Plex',
    'create VolumeAttachment',
    'update VolumeAttachment',
    'status VolumeAttachment',
    'delete VolumeAttachment',
  ])
})

test('the CSI controller makes and deletes volumes, snapshots and attachments, and writes no status', () => {
  expect(allowed('provisioner').filter((entry) => !entry.startsWith('read'))).toEqual([
    'create Volume',
    'update Volume',
    'delete Volume',
    'create VolumeAttachment',
    'delete VolumeAttachment',
  ])
})
