import { namePattern } from '../../api/index.ts'
import type { EndpointWish } from '../attachments/wish.ts'
import { describeValue, invalidConfiguration, unsupportedField } from './refusals.ts'

/** What is wished for one interface whose name is not known yet. */
export interface Wished {
  wish: EndpointWish
  metric?: number
}

const knownKeys = ['network', 'networkGroup', 'perfTier', 'endpointId', 'endpointPrefix', 'metric'] as const
/** At most one of these says where the interface is; the last two are endpoints that have their own tier. */
const places = ['network', 'networkGroup', 'endpointId', 'endpointPrefix'] as const

/** Whether a key belongs to the language of wishes. */
export function isWishKey(key: string): boolean {
  return (knownKeys as readonly string[]).includes(key)
}

/** The kernel takes 32 bits; 0 would be the first for IPv4 and 1024 for IPv6. */
const largestMetric = 4_294_967_295

const example = `Write it like '{"network":"blue","perfTier":"high"}'.`

/** Reads a wish from JSON text. Throws InvalidInput that names `where` it stands and what was wrong. */
export function parseWish(text: string, where: string, podName?: string): Wished {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalidConfiguration(`${where} is not JSON: ${describeValue(text)}`, example)
  }
  return checkWish(value, where, podName)
}

/** Checks a wish that is decoded already. Throws as `parseWish` does. */
export function checkWish(value: unknown, where: string, podName?: string): Wished {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidConfiguration(`${where} is ${describeValue(value)}, expected a JSON object`, example)
  }
  const wish = value as Record<string, unknown>
  refuseUnknown(wish, where)
  refuseContradiction(wish, where)
  const metric = metricAt(wish, where)
  return { wish: wishOf(wish, where, podName), ...(metric === undefined ? {} : { metric }) }
}

function wishOf(wish: Record<string, unknown>, where: string, podName: string | undefined): EndpointWish {
  const name = (key: (typeof knownKeys)[number]): string | undefined => nameAt(wish, key, where)
  const [endpointName, prefix] = [name('endpointId'), name('endpointPrefix')]
  if (endpointName !== undefined) return { kind: 'static', endpointName }
  if (prefix !== undefined) return ofPrefix(prefix, podName)
  const networkGroup = name('networkGroup')
  return {
    kind: 'dynamic',
    networkName: name('network'),
    ...(networkGroup === undefined ? {} : { networkGroup }),
    perfTierName: name('perfTier'),
  }
}

/** Pod `web-3` of a StatefulSet has endpoint PREFIX-3 and no other; a pod without an ordinal any that is free. */
function ofPrefix(prefix: string, podName: string | undefined): EndpointWish {
  const ordinal = podName === undefined ? undefined : ordinalOf(podName)
  if (ordinal === undefined) return { kind: 'any-static', prefix }
  return { kind: 'static', endpointName: `${prefix}-${ordinal}` }
}

/** Letters and digits of the hashes in the names of a Deployment's pods, `NAME-HASH-HASH`: no vowels, no 0, 1, 3. */
const deploymentPod = /-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/

/** The ordinal of a StatefulSet's pod; undefined for names of other kinds. */
function ordinalOf(podName: string): number | undefined {
  if (deploymentPod.test(podName)) return undefined
  const digits = /-(0|[1-9][0-9]{0,5})$/.exec(podName)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

function refuseUnknown(wish: Record<string, unknown>, where: string): void {
  const unknown = Object.keys(wish).filter((key) => !isWishKey(key))
  if (unknown.length === 0) return
  const names = unknown.slice(0, 5).map(describeValue).join(', ')
  throw unsupportedField(`${where} has the unknown key ${names}`, `Use only ${knownKeys.join(', ')}.`)
}

function refuseContradiction(wish: Record<string, unknown>, where: string): void {
  const present = places.filter((key) => wish[key] !== undefined)
  const [first, second] = present
  if (first !== undefined && second !== undefined) {
    throw invalidConfiguration(`${where} has ${first} beside ${second}, expected one of them`, 'Leave one of them out.')
  }
  if ((first === 'endpointId' || first === 'endpointPrefix') && wish.perfTier !== undefined) {
    throw invalidConfiguration(
      `${where} has ${first} beside perfTier, expected no perfTier`,
      'Leave perfTier out: a static endpoint has its own.',
    )
  }
}

function metricAt(wish: Record<string, unknown>, where: string): number | undefined {
  const metric = Object.hasOwn(wish, 'metric') ? wish.metric : undefined
  if (metric === undefined) return undefined
  if (typeof metric === 'number' && Number.isInteger(metric) && metric >= 1 && metric <= largestMetric) return metric
  throw invalidConfiguration(
    `${where} has metric ${describeValue(metric)}, expected a whole number from 1 to ${largestMetric}`,
    'Write it as a number, such as 20; the lowest metric of a container has the default route.',
  )
}

const namePatternExpression = new RegExp(namePattern)

/** Reads an object name; undefined when absent. */
function nameAt(wish: Record<string, unknown>, key: string, where: string): string | undefined {
  const value = Object.hasOwn(wish, key) ? wish[key] : undefined
  if (value === undefined) return undefined
  if (typeof value === 'string' && value.length <= 253 && namePatternExpression.test(value)) return value
  throw invalidConfiguration(
    `${where} has ${key} ${describeValue(value)}, expected the name of an object`,
    'Names are lower-case letters, digits, dashes and dots.',
  )
}
