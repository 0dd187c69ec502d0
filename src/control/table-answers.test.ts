import type { FastifyRequest } from 'fastify'
import { expect, test } from 'vitest'
import { Network } from '../api/index.ts'
import { tableOf, wantsTable } from './table-answers.ts'

const asking = (accept?: string): FastifyRequest => ({ headers: { accept } }) as FastifyRequest

test.each([
  ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json', true],
  ['application/json; as=Table; v=v1; g=meta.k8s.io', true],
  ['application/json;as=Table;v=v2;g=meta.k8s.io', false],
  ['application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', false],
  ['application/json', false],
  [undefined, false],
])('%s: %s', (accept, expected) => {
  expect(wantsTable(asking(accept))).toBe(expected)
}) // prettier-ignore

const blue: Network = {
  metadata: { name: 'blue', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { subnets: [{ cidr: '10.0.0.0/24', ranges: [] }], vlan: 100, plane: 'pods', isDefault: true },
} as Network

test('a network has the columns of its CRD, and what it does not say is empty', () => {
  const now = new Date('2026-01-01T00:05:00Z')
  const table = tableOf(Network, [blue], { resourceVersion: '7' }, { now }) as {
    metadata: object
    columnDefinitions: { name: string; priority: number }[]
    rows: { cells: unknown[]; object: object }[]
  }
  expect(table.metadata).toEqual({ resourceVersion: '7' })
  const names = table.columnDefinitions.map(({ name }) => name)
  expect(names.slice(0, 2)).toEqual(['Name', 'VLAN'])
  expect(names.at(-1)).toBe('Age')
  const cells = Object.fromEntries(names.map((name, index) => [name, table.rows[0]!.cells[index]]))
  expect(cells).toMatchObject({
    Name: 'blue',
    VLAN: 100,
    Subnet: '10.0.0.0/24',
    Default: true,
    Gateway: null,
    Age: '5m',
  })
  expect(table.rows[0]!.object).toMatchObject({ kind: 'PartialObjectMetadata', metadata: { name: 'blue' } })
})
