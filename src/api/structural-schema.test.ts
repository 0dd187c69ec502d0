import { Type } from '@sinclair/typebox'
import { describe, expect, test } from 'vitest'
import { allKinds } from './index.ts'
import { Quantity } from './quantity.ts'
import { structuralSchema, type StructuralSchema } from './structural-schema.ts'

describe('structural schemas', () => {
  test('of objects leave out what the server does itself', () => {
    const schema = Type.Object({ a: Type.Optional(Type.String({ pattern: '^x' })), b: Type.Integer({ minimum: 1 }) }, { additionalProperties: false }) // prettier-ignore
    expect(structuralSchema(schema)).toEqual({
      type: 'object',
      properties: { a: { type: 'string', pattern: '^x' }, b: { type: 'integer', format: 'int64', minimum: 1 } },
      required: ['b'],
    })
  })

  test('of quantities take numbers and text, each with its own limits', () => {
    expect(structuralSchema(Quantity)).toMatchObject({ 'x-kubernetes-int-or-string': true, minimum: 0 })
  })

  test('of literals are an enumeration; null makes a field nullable', () => {
    expect(structuralSchema(Type.Union([Type.Literal('a'), Type.Literal('b')]))).toEqual({ type: 'string', enum: ['a', 'b'] }) // prettier-ignore
    expect(structuralSchema(Type.Union([Type.String(), Type.Null()]))).toEqual({ type: 'string', nullable: true })
  })

  test('of alternatives fit each of them', () => {
    const one = Type.Object({ state: Type.Literal('Allocated'), generation: Type.Integer(), vlan: Type.Integer() })
    const other = Type.Object({ state: Type.Literal('Refused'), generation: Type.Integer(), code: Type.String() })
    const merged = structuralSchema(Type.Union([one, other]))
    expect(merged.required).toEqual(['state', 'generation'])
    expect(merged.properties!.state!.enum).toEqual(['Allocated', 'Refused'])
    expect(Object.keys(merged.properties!)).toEqual(['state', 'generation', 'vlan', 'code'])
  })

  test('of maps describe their values', () => {
    expect(structuralSchema(Type.Record(Type.String(), Type.String()))).toEqual({ type: 'object', additionalProperties: { type: 'string' } }) // prettier-ignore
  })

  test('say so when there is no counterpart', () => {
    expect(() => structuralSchema(Type.Union([Type.Boolean(), Type.Array(Type.String())]))).toThrow(/no structural/)
  })

  test.each(allKinds.map((kind) => [kind.kind, kind] as const))('of %s give every field one type', (_name, kind) => {
    const everyFieldHasType = (schema: StructuralSchema): boolean =>
      (schema.type !== undefined || schema['x-kubernetes-int-or-string'] === true) &&
      [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties]
        .filter((part) => part !== undefined)
        .every(everyFieldHasType)
    expect(everyFieldHasType(structuralSchema(kind.schema))).toBe(true)
  })
})
