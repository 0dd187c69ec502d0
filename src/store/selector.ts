import type { KindDefinition, KubeObject } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'
import type { Selection } from './resource-store.ts'

/** What selectors look at: the labels and the selectable fields of an object; an absent field is ''. */
export interface SelectorView {
  labels: Record<string, string>
  fields: Record<string, string>
}

/** One condition, as parsed from a selector string. */
export interface Requirement {
  key: string
  operator: 'in' | 'notin' | 'exists' | 'absent' | 'above' | 'below'
  values: string[]
}

/** Says whether an object, seen through its view, is selected. */
export type Matcher = (view: SelectorView) => boolean

/** A value that a field must have. */
export interface WantedField {
  path: string
  value: string
}

const keyPattern = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const valuePattern = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
const maximumSelectorLength = 10_000

/** The part of an object that selectors can see. */
export function selectorViewOf(kind: KindDefinition, object: KubeObject): SelectorView {
  const fields: Record<string, string> = {
    'metadata.name': object.metadata.name,
    'metadata.namespace': object.metadata.namespace ?? '',
  }
  for (const path of kind.selectableFields) fields[path] = fieldOf(object, path)
  return { labels: object.metadata.labels ?? {}, fields }
}

/** Whether both views are selected by the same selectors. */
export function sameSelectorView(one: SelectorView, other: SelectorView): boolean {
  return sameRecord(one.labels, other.labels) && sameRecord(one.fields, other.fields)
}

/** Says what is wrong with the labels of an object, which must be such that selectors can name them. */
export function labelProblem(labels: Record<string, string>): string | undefined {
  for (const [key, value] of Object.entries(labels)) {
    if (!keyPattern.test(key)) return `"${key.slice(0, 80)}" is not a label key`
    if (!valuePattern.test(value)) return `"${value.slice(0, 80)}" is not a label value`
  }
  return undefined
}

/** Compiles a selection; undefined selects everything. Throws InvalidInput that names the wrong part. */
export function compileSelection(kind: KindDefinition, selection: Selection): Matcher | undefined {
  const labels = parseLabelSelector(selection.labelSelector ?? '')
  const fields = parseFieldSelector(selection.fieldSelector ?? '', kind)
  if (selection.namespace !== undefined) {
    fields.push({ key: 'metadata.namespace', operator: 'in', values: [selection.namespace] })
  }
  if (labels.length + fields.length === 0) return undefined
  return (view) =>
    fields.every((requirement) => holds(requirement, view.fields[requirement.key] ?? '')) &&
    labels.every((requirement) => holds(requirement, ownValue(view.labels, requirement.key)))
}

/** A field of the kind that must have one value for an object to be selected, if there is such. Throws InvalidInput. */
export function wantedField(kind: KindDefinition, { fieldSelector = '' }: Selection): WantedField | undefined {
  const wanted = parseFieldSelector(fieldSelector, kind).find(
    ({ key, operator }) => operator === 'in' && kind.selectableFields.includes(key),
  )
  return wanted && { path: wanted.key, value: wanted.values[0]! }
}

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`. Throws InvalidInput. */
function parseLabelSelector(text: string): Requirement[] {
  return splitTopLevel(text, 'label selector').map((part) => parseLabelRequirement(part, text))
}

/** Parses `metadata.name=a,spec.nodeName!=b`; `\,` `\=` and `\\` are literal. Throws InvalidInput. */
export function parseFieldSelector(text: string, kind: KindDefinition): Requirement[] {
  refuseLong(text, 'field selector')
  if (text.trim() === '') return []
  return text.split(/(?<=(?<!\\)(?:\\\\)*),/).map((part) => {
    const match = /^\s*([^=!\\\s]+)\s*(==|=|!=)((?:[^=\\]|\\[,=\\])*)$/s.exec(part.replace(/,$/, ''))
    if (!match) throw invalid('field selector', text, `"${part.trim()}" is not field=value or field!=value`)
    const [, key, operator, value] = match as unknown as [string, string, string, string]
    const known = ['metadata.name', 'metadata.namespace', ...kind.selectableFields]
    if (!known.includes(key)) {
      throw invalid('field selector', text, `"${key}" cannot be selected on for ${kind.kind}, only ${known.join(', ')}`)
    }
    return { key, operator: operator === '!=' ? 'notin' : 'in', values: [value.trim().replaceAll(/\\(.)/g, '$1')] }
  })
}

function parseLabelRequirement(part: string, text: string): Requirement {
  const set = /^([^\s!=<>()]+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part)
  if (set)
    return checked(
      set[1]!,
      set[2] as 'in' | 'notin',
      set[3]!.split(',').map((value) => value.trim()),
      text,
    )
  const compare = /^([^\s!=<>()]+)\s*(==|=|!=|<|>)\s*([^\s!=<>()]*)$/.exec(part)
  if (compare) {
    const operators = { '=': 'in', '==': 'in', '!=': 'notin', '<': 'below', '>': 'above' } as const
    return checked(compare[1]!, operators[compare[2] as keyof typeof operators], [compare[3]!], text)
  }
  const bare = /^(!?)\s*([^\s!=<>()]+)$/.exec(part)
  if (bare) return checked(bare[2]!, bare[1] ? 'absent' : 'exists', [], text)
  throw invalid('label selector', text, `"${part}" is not a condition`)
}

function checked(key: string, operator: Requirement['operator'], values: string[], text: string): Requirement {
  if (!keyPattern.test(key)) throw invalid('label selector', text, `"${key}" is not a label key`)
  const wrong = values.find((value) => !valuePattern.test(value))
  if (wrong !== undefined) throw invalid('label selector', text, `"${wrong}" is not a label value`)
  if ((operator === 'above' || operator === 'below') && !/^-?\d+$/.test(values[0]!)) {
    throw invalid('label selector', text, `"${values[0]}" is not a whole number`)
  }
  return { key, operator, values }
}

function holds({ operator, values }: Requirement, value: string | undefined): boolean {
  switch (operator) {
    case 'exists':
      return value !== undefined
    case 'absent':
      return value === undefined
    case 'in':
      return value !== undefined && values.includes(value)
    case 'notin':
      return value === undefined || !values.includes(value)
    case 'above':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) > Number(values[0])
    case 'below':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) < Number(values[0])
  }
}

function splitTopLevel(text: string, what: string): string[] {
  refuseLong(text, what)
  if (text.trim() === '') return []
  const parts = text.split(/,(?![^(]*\))/).map((part) => part.trim())
  if (parts.includes('')) throw invalid(what, text, 'a condition between commas is empty')
  return parts
}

function refuseLong(text: string, what: string): void {
  if (text.length > maximumSelectorLength) {
    throw new InvalidInput(`The ${what} has ${text.length} characters, at most ${maximumSelectorLength} are taken`, {
      remedy: 'Select by fewer conditions.',
    })
  }
}

function invalid(what: string, text: string, why: string): InvalidInput {
  const shown = text.length > 100 ? `${text.slice(0, 97)}...` : text
  return new InvalidInput(`The ${what} "${shown}" is not valid: ${why}`, {
    remedy:
      'Write conditions such as a=b, a!=b, a in (b,c), a notin (b), a, !a (fields: only = and !=), with commas between.',
  })
}

/** The value of a field as selectors see it. */
export function fieldOf(object: KubeObject, path: string): string {
  let value: unknown = object
  for (const step of path.split('.')) value = (value as Record<string, unknown> | null | undefined)?.[step]
  return value === undefined || value === null ? '' : String(value)
}

function ownValue(record: Record<string, string>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}

function sameRecord(one: Record<string, string>, other: Record<string, string>): boolean {
  const keys = Object.keys(one)
  return keys.length === Object.keys(other).length && keys.every((key) => ownValue(other, key) === one[key])
}
