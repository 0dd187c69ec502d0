import type { FastifyInstance } from 'fastify'
import { type KindDefinition } from '../api/index.ts'

/** Tells clients such as kubectl which kinds there are. */
export function addDiscoveryRoutes(app: FastifyInstance, kinds: KindDefinition[]): void {
  const groups = Map.groupBy(kinds, (kind) => kind.group)
  app.get('/api', async () => ({ kind: 'APIVersions', versions: [] }))
  app.get('/apis', async () => ({
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: [...groups].map(([group, [first]]) => groupOf(group, first!.version)),
  }))
  for (const [group, members] of groups) {
    const version = members[0]!.version
    app.get(`/apis/${group}`, async () => ({ kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group, version) }))
    app.get(`/apis/${group}/${version}`, async () => ({
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: `${group}/${version}`,
      resources: members.flatMap(resourcesOf),
    }))
  }
}

function groupOf(name: string, version: string): object {
  const entry = { groupVersion: `${name}/${version}`, version }
  return { name, versions: [entry], preferredVersion: entry }
}

function resourcesOf(kind: KindDefinition): object[] {
  const resource = {
    name: kind.plural,
    singularName: kind.kind.toLowerCase(),
    namespaced: kind.namespaced,
    kind: kind.kind,
    shortNames: kind.shortNames,
    verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
  }
  const status = { ...resource, name: `${kind.plural}/status`, shortNames: [], verbs: ['get', 'update', 'patch'] }
  return kind.hasStatus ? [resource, status] : [resource]
}
