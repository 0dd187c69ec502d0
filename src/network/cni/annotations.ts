import { usualMetric, type EndpointWish } from '../attachments/wish.ts'
import { describeValue, invalidConfiguration, unsupportedField } from './refusals.ts'
import { parseWish, type Wished } from './wish-object.ts'

/** Prefixes of the annotations, ours and that of the original. */
const prefixes = ['carbonado.io/', 'diamanti.com/']

/** Interfaces that the annotations of one pod can ask for. */
const mostInterfaces = 16

/**
 * What the annotations of a pod ask for: `none` is a pod that wants no interface from Carbonado; otherwise one wish per
 * interface, endpoint0 first, and undefined where the pod says nothing.
 */
export type AnnotatedWishes = 'none' | [Wished, ...Wished[]] | undefined

/**
 * Reads the pod annotations `carbonado.io/endpoint0`, `endpoint1`, ... (JSON) and `carbonado.io/endpoint: none`, also with
 * the prefix `diamanti.com/`. Throws InvalidInput that names the annotation and what was wrong. `podName` tells which
 * endpoint of a prefix is meant.
 */
export function parseAnnotations(annotations: Record<string, string>, podName?: string): AnnotatedWishes {
  const ours = endpointAnnotations(annotations)
  const optOut = ours.get('endpoint')
  if (optOut !== undefined && optOut !== 'none') {
    throw invalidConfiguration(
      `annotation carbonado.io/endpoint is ${describeValue(optOut)}, expected "none"`,
      'Remove the annotation, or use carbonado.io/endpoint0 to ask for an interface.',
    )
  }
  const numbers = interfaceNumbers([...ours.keys()].filter((key) => key !== 'endpoint'))
  if (optOut !== undefined && numbers.length > 0) {
    throw invalidConfiguration(
      'annotations carbonado.io/endpoint: none and carbonado.io/endpoint0 contradict each other',
      'Remove one of the two.',
    )
  }
  if (optOut !== undefined) return 'none'
  const [first, ...others] = numbers.map((number) =>
    parseWish(ours.get(`endpoint${number}`)!, `annotation carbonado.io/endpoint${number}`, podName),
  )
  if (!first) return undefined
  const wishes: [Wished, ...Wished[]] = [first, ...others]
  refuseTwice(wishes)
  return wishes
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

/** The numbers in the keys, from 0 on without a gap: endpointN is the interface ethN. */
function interfaceNumbers(keys: string[]): number[] {
  const numbers = keys.map(interfaceNumber).sort((one, other) => one - other)
  const gap = numbers.findIndex((number, index) => number !== index)
  if (gap < 0) return numbers
  throw invalidConfiguration(
    `annotation carbonado.io/endpoint${numbers[gap]} is there without carbonado.io/endpoint${gap}`,
    'Number the interfaces from endpoint0 on without a gap; endpoint0 is the primary one.',
  )
}

function interfaceNumber(key: string): number {
  const digits = /^endpoint(0|[1-9][0-9]*)$/.exec(key)?.[1]
  if (digits === undefined) {
    throw unsupportedField(
      `annotation carbonado.io/${key} is not known`,
      'Use carbonado.io/endpoint0, endpoint1, ... for interfaces, or carbonado.io/endpoint: none for no interface.',
    )
  }
  if (Number(digits) < mostInterfaces) return Number(digits)
  throw invalidConfiguration(
    `annotation carbonado.io/${key.slice(0, 40)} is one too many: a pod has at most ${mostInterfaces} interfaces`,
    `Use endpoint0 to endpoint${mostInterfaces - 1}.`,
  )
}

/** One static endpoint cannot be two interfaces, and of two default routes of one metric neither is the better one. */
function refuseTwice(wishes: Wished[]): void {
  const metrics = new Map<number, number>()
  const endpoints = new Map<string, number>()
  for (const [number, { wish, metric }] of wishes.entries()) {
    const endpoint = staticNameOf(wish)
    if (endpoint !== undefined) refuseSecond(endpoints, endpoint, number, 'ask for the static endpoint')
    refuseSecond(metrics, metric ?? usualMetric(number), number, 'have the metric')
  }
}

function staticNameOf(wish: EndpointWish): string | undefined {
  if (wish.kind === 'static') return wish.endpointName
  return wish.kind === 'any-static' ? `${wish.prefix}-...` : undefined
}

function refuseSecond<T extends string | number>(seen: Map<T, number>, value: T, number: number, what: string): void {
  const before = seen.get(value)
  seen.set(value, number)
  if (before === undefined) return
  throw invalidConfiguration(
    `annotations carbonado.io/endpoint${before} and carbonado.io/endpoint${number} both ${what} ${value}`,
    'Let each interface have its own.',
  )
}
