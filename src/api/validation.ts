import { Type, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import { InvalidInput } from '../base/index.ts'
import { apiVersionOf, ObjectMeta, type KindDefinition, type KubeObject } from './meta.ts'

const checks = new Map<KindDefinition<never>, { schema: TSchema; check: TypeCheck<TSchema> }>()

function checkOf(definition: KindDefinition<never>): { schema: TSchema; check: TypeCheck<TSchema> } {
  const known = checks.get(definition)
  if (known) return known
  const schema = Type.Object(
    {
      apiVersion: Type.Literal(apiVersionOf(definition as KindDefinition)),
      kind: Type.Literal(definition.kind),
      metadata: ObjectMeta,
      ...definition.schema.properties,
    },
    { additionalProperties: false },
  )
  const entry = { schema, check: TypeCompiler.Compile(schema) }
  checks.set(definition, entry)
  return entry
}

/**
 * Fills in defaults and checks an object against its kind's schema. Returns a new object; the input is not changed.
 * Throws InvalidInput that names each wrong field, what it was and what was expected.
 */
export function validate<T extends KubeObject>(definition: KindDefinition<T>, input: unknown): T {
  const { schema, check } = checkOf(definition as KindDefinition<never>)
  const object = Value.Default(schema, Value.Clone(input)) as T
  if (check.Check(object)) return object
  const problems = [...check.Errors(object)].slice(0, 5).map((error) => ({
    field: error.path.slice(1).replaceAll('/', '.') || '(object)',
    message: error.message,
    value: error.value,
  }))
  const text = problems.map((p) => `${p.field}: ${p.message}, got ${shorten(p.value)}`).join('; ')
  throw new InvalidInput(`${definition.kind} is not valid: ${text}`, {
    remedy: 'Correct the named fields.',
    details: { fields: problems.map(({ field, message }) => ({ field, message })) },
  })
}

function shorten(value: unknown): string {
  const text = value === undefined ? 'nothing' : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}
