import { namePattern } from '../../api/index.ts'
import type { EndpointWish } from '../attachments/wish.ts'
import { describeValue, invalidConfiguration, unsupportedField } from './refusals.ts'

/** Prefixes of the annotations, ours and that of the original. */
const prefixes = ['carbonado.io/', 'diamanti.com/']

const knownKeys = ['network', 'perfTier', 'endpointId']
/** Part of the annotation's language, but not of this version. */
const laterKeys = ['networkGroup', 'endpointPrefix', 'metric']

/** What the annotations of a pod ask for; `none` is a pod that wants no interface from Carbonado. */
export type AnnotatedWish = EndpointWish | { kind: 'none' } | undefined

/**
 * Reads the pod annotations `carbonado.io/endpoint0` (JSON) and `carbonado.io/endpoint: none`, also with the prefix
 * `diamanti.com/`. Undefined when there is neither. Throws InvalidInput that names the annotation and what was wrong.
 */
export function parseAnnotations(annotations: Record<string, string>): AnnotatedWish {
  const ours = endpointAnnotations(annotations)
  for (const key of ours.keys()) {
    if (key !== 'endpoint' && key !== 'endpoint0') refuseKey(key)
  }
  const optOut = ours.get('endpoint')
  const wish = ours.get('endpoint0')
  if (optOut !== undefined && optOut !== 'none') {
    throw invalidConfiguration(
      `annotation carbonado.io/endpoint is ${describeValue(optOut)}, expected "none"`,
      'Remove the annotation, or use carbonado.io/endpoint0 to ask for an interface.',
    )
  }
  if (optOut !== undefined && wish !== undefined) {
    throw invalidConfiguration(
      'annotations carbonado.io/endpoint: none and carbonado.io/endpoint0 contradict each other',
      'Remove one of the two.',
    )
  }
  if (optOut !== undefined) return { kind: 'none' }
  return wish === undefined ? undefined : parseWish(wish)
}

/** Our annotations by their key without prefix; the same key under both prefixes must say the same. */
function endpointAnnotations(annotations: Record<string, string>): Map<string, string> {
  const found = new Map<string, string>()
  for (const [name, value] of Object.entries(annotations)) {
    const prefix = prefixes.find((candidate) => name.startsWith(`${candidate}endpoint`))
    if (!prefix) continue
    const key = name.slice(prefix.length)
    if (found.has(key) && found.get(key) !== value) {
      throw invalidConfiguration(
        `annotations ${prefixes.map((p) => p + key).join(' and ')} say different things`,
        'Keep one of the two.',
      )
    }
    found.set(key, value)
  }
  return found
}

function refuseKey(key: string): never {
  const isLater = /^endpoint[1-9][0-9]*$/.test(key)
  throw unsupportedField(
    isLater
      ? `annotation carbonado.io/${key} is not supported: a pod gets one interface for now`
      : `annotation carbonado.io/${key} is not known`,
    'Use carbonado.io/endpoint0 for the interface, or carbonado.io/endpoint: none for no interface.',
  )
}

function parseWish(text: string): EndpointWish {
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidConfiguration(
      `annotation carbonado.io/endpoint0 is ${describeValue(value)}, expected a JSON object`,
      `Write it like '{"network":"blue","perfTier":"high"}'.`,
    )
  }
  const wish = value as Record<string, unknown>
  refuseUnknown(Object.keys(wish))
  const { network, perfTier, endpointId } = {
    network: nameAt(wish, 'network'),
    perfTier: nameAt(wish, 'perfTier'),
    endpointId: nameAt(wish, 'endpointId'),
  }
  if (endpointId === undefined) return { kind: 'dynamic', networkName: network, perfTierName: perfTier }
  if (network !== undefined || perfTier !== undefined) {
    throw invalidConfiguration(
      'annotation carbonado.io/endpoint0 has endpointId beside network or perfTier, expected endpointId alone',
      'Leave network and perfTier out: the static endpoint has its own.',
    )
  }
  return { kind: 'static', endpointName: endpointId }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalidConfiguration(
      `annotation carbonado.io/endpoint0 is not JSON: ${describeValue(text)}`,
      `Write it like '{"network":"blue","perfTier":"high"}'.`,
    )
  }
}

function refuseUnknown(keys: string[]): void {
  const unknown = keys.filter((key) => !knownKeys.includes(key))
  if (unknown.length === 0) return
  const later = unknown.filter((key) => laterKeys.includes(key))
  const names = unknown.map(describeValue).join(', ')
  throw unsupportedField(
    later.length === unknown.length
      ? `annotation carbonado.io/endpoint0 has ${names}, which this version does not support`
      : `annotation carbonado.io/endpoint0 has the unknown key ${names}`,
    `Use only ${knownKeys.join(', ')}.`,
  )
}

const namePatternExpression = new RegExp(namePattern)

/** Reads an object name; undefined when absent. */
function nameAt(wish: Record<string, unknown>, key: string): string | undefined {
  const value = Object.hasOwn(wish, key) ? wish[key] : undefined
  if (value === undefined) return undefined
  if (typeof value === 'string' && value.length <= 253 && namePatternExpression.test(value)) return value
  throw invalidConfiguration(
    `annotation carbonado.io/endpoint0 has ${key} ${describeValue(value)}, expected the name of an object`,
    'Names are lower-case letters, digits, dashes and dots.',
  )
}
