import { Kind, type TSchema } from '@sinclair/typebox'
import { Internal } from '../base/index.ts'

/**
 * A schema as a CustomResourceDefinition may have it (OpenAPI v3, structural: every field has one type, and nothing in
 * anyOf but what int-or-string needs; Kubernetes documentation, "Specifying a structural schema").
 */
export interface StructuralSchema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  description?: string
  properties?: Record<string, StructuralSchema>
  required?: string[]
  items?: StructuralSchema
  additionalProperties?: StructuralSchema
  enum?: unknown[]
  nullable?: boolean
  'x-kubernetes-int-or-string'?: boolean
  [keyword: string]: unknown
}

/** Keywords that mean the same in both. `uniqueItems` is forbidden in structural schemas. */
const kept = [
  'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'default', 'format',
] as const // prettier-ignore

/** Turns the schema of a kind, or a part of it, into a structural one. Throws Internal for what has no counterpart. */
export function structuralSchema(schema: TSchema): StructuralSchema {
  if (schema.anyOf) return union(schema, schema.anyOf as TSchema[])
  if ('const' in schema) return literal([schema.const])
  switch (schema.type) {
    case 'object':
      return { ...objectSchema(schema), ...keep(schema) }
    case 'array':
      return { type: 'array', items: structuralSchema(schema.items as TSchema), ...keep(schema) }
    case 'integer':
      return { type: 'integer', format: 'int64', ...keep(schema) }
    case 'string':
    case 'number':
    case 'boolean':
      return { type: schema.type, ...keep(schema) }
    default:
      throw new Internal(`a schema of kind ${String(schema[Kind])} has no structural counterpart`)
  }
}

function keep(schema: TSchema): StructuralSchema {
  return Object.fromEntries(kept.filter((keyword) => schema[keyword] !== undefined).map((keyword) => [keyword, schema[keyword]])) // prettier-ignore
}

/** Unknown fields are pruned by the server, so `additionalProperties: false` has no place. */
function objectSchema(schema: TSchema): StructuralSchema {
  const patterns = Object.values((schema.patternProperties ?? {}) as Record<string, TSchema>)
  if (patterns.length > 0) return { type: 'object', additionalProperties: structuralSchema(patterns[0]!) }
  const properties = Object.entries(schema.properties as Record<string, TSchema>)
  // kubectl does not know that the server fills in defaults, and would ask for them
  const isFilledIn = (name: string): boolean =>
    (schema.properties as Record<string, TSchema>)[name]?.default !== undefined
  const required = ((schema.required ?? []) as string[]).filter((name) => !isFilledIn(name))
  return {
    type: 'object',
    properties: Object.fromEntries(properties.map(([name, value]) => [name, structuralSchema(value)])),
    ...(required.length > 0 ? { required } : {}),
  }
}

function literal(values: unknown[]): StructuralSchema {
  const type = typeof values[0]
  if (type === 'string' || type === 'boolean') return { type, enum: values }
  return { type: 'integer', enum: values }
}

function union(schema: TSchema, members: TSchema[]): StructuralSchema {
  const present = members.filter((member) => member.type !== 'null')
  const extra = { ...keep(schema), ...(present.length < members.length ? { nullable: true } : {}) }
  return { ...unionOf(present), ...extra }
}

function unionOf(members: TSchema[]): StructuralSchema {
  if (members.length === 1) return structuralSchema(members[0]!)
  if (members.every((member) => 'const' in member)) return literal(members.map((member) => member.const as unknown))
  const types = members.map(({ type }) => type as string)
  if (members.length === 2 && types.includes('integer') && types.includes('string')) return intOrString(members)
  if (types.every((type) => type === 'object')) return members.map(structuralSchema).reduce(mergeObjects)
  throw new Internal(`a union of ${types.join(' and ')} has no structural counterpart`)
}

function intOrString(members: TSchema[]): StructuralSchema {
  return {
    'x-kubernetes-int-or-string': true,
    anyOf: [{ type: 'integer' }, { type: 'string' }],
    ...Object.assign({}, ...members.map(keep)),
  }
}

/** One object schema that every member of a union fits: what all of them require, what any of them has. */
function mergeObjects(one: StructuralSchema, other: StructuralSchema): StructuralSchema {
  const properties = { ...one.properties }
  for (const [name, schema] of Object.entries(other.properties ?? {})) {
    const present = properties[name]
    properties[name] = present ? mergeProperties(present, schema) : schema
  }
  const required = (one.required ?? []).filter((name) => other.required?.includes(name))
  return { type: 'object', properties, ...(required.length > 0 ? { required } : {}) }
}

function mergeProperties(one: StructuralSchema, other: StructuralSchema): StructuralSchema {
  if (one.enum && other.enum) return { ...one, enum: [...new Set([...one.enum, ...other.enum])] }
  if (one.type === 'object' && other.type === 'object') return mergeObjects(one, other)
  return one
}
