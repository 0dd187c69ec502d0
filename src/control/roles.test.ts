import { expect, test } from 'vitest'
import { AddressClaim, Endpoint, Event, Network, Node, PerfTier, type KindDefinition } from '../api/index.ts'
import { mayDo, type Verb } from './roles.ts'
import type { Role } from './tokens.ts'

const kinds: KindDefinition[] = [Node, Network, Endpoint, PerfTier, AddressClaim, Event]
const verbs: Verb[] = ['read', 'create', 'update', 'status', 'delete']
const may = (role: Role, verb: Verb, kind: KindDefinition): boolean => mayDo({ user: 'x', role }, verb, kind)

const allowed = (role: Role): string[] =>
  kinds.flatMap((kind) => verbs.filter((verb) => may(role, verb, kind)).map((verb) => `${verb} ${kind.kind}`))

test('admins do everything, operators all but delete nodes', () => {
  expect(allowed('admin')).toHaveLength(kinds.length * verbs.length)
  const missing = allowed('admin').filter((entry) => !allowed('operator').includes(entry))
  expect(missing).toEqual(['delete Node'])
})

test('viewers only read', () => {
  expect(allowed('viewer')).toEqual(kinds.map(({ kind }) => `read ${kind}`))
})

test('agents read everything and write endpoints, their Node and events', () => {
  expect(allowed('agent').filter((entry) => !entry.startsWith('read'))).toEqual([
    'create Node',
    'status Node',
    'create Endpoint',
    'update Endpoint',
    'status Endpoint',
    'delete Endpoint',
    'create Event',
    'update Event',
  ])
})
