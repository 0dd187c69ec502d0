import { isIP } from 'node:net'
import { InvalidInput } from '../base/index.ts'
import { parseQuantity } from '../api/index.ts'
import type { VerbContext } from './context.ts'

/** Parser of a flag that may be repeated or hold several values separated by commas. */
export function collectList(value: string, before: string[] | undefined): string[] {
  const parts = value.split(',').map((part) => part.trim())
  return [...(before ?? []), ...parts.filter((part) => part !== '')]
}

/** Parser of a flag that holds a quantity; keeps the user's spelling once it is known to be one. */
export function quantityFlag(flag: string): (value: string) => string {
  return (value) => {
    parseQuantity(value, flag)
    return value.trim()
  }
}

/** Parser of a flag that holds a whole number between two others. */
export function integerFlag(flag: string, minimum: number, maximum: number): (value: string) => number {
  return (value) => {
    const number = /^[0-9]{1,15}$/.test(value.trim()) ? Number(value) : Number.NaN
    if (number >= minimum && number <= maximum) return number
    throw new InvalidInput(`${flag} "${value}" is not a whole number from ${minimum} to ${maximum}`, {
      remedy: `Give a number from ${minimum} to ${maximum}.`,
    })
  }
}

const labelKey = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/

/** Parser of a repeatable `-l K=V[,K=V...]`; `what` names the flag in errors. */
export function labelsFlag(flag: string): (value: string, before?: Record<string, string>) => Record<string, string> {
  return (value, before) => {
    const labels = { ...before }
    for (const part of collectList(value, undefined)) {
      const separator = part.indexOf('=')
      const [key, text] = [part.slice(0, Math.max(separator, 0)), part.slice(separator + 1)]
      if (separator < 1 || !labelKey.test(key) || !labelValue.test(text)) throw notALabel(flag, part)
      labels[key] = text
    }
    return labels
  }
}

/** Parser of a repeatable `-a K=V` for annotations, whose values may be any text (commas included). */
export function annotationsFlag(value: string, before?: Record<string, string>): Record<string, string> {
  const separator = value.indexOf('=')
  if (separator < 1 || !labelKey.test(value.slice(0, separator))) throw notALabel('--annotations', value)
  return { ...before, [value.slice(0, separator)]: value.slice(separator + 1) }
}

function notALabel(flag: string, value: string): InvalidInput {
  return new InvalidInput(`${flag} "${value}" is not of the form key=value`, {
    remedy: 'Keys and values are letters, digits, "-", "_" and ".", at most 63 of them, such as app=web.',
  })
}

/** Checks that each value is an IP address, at most one per family, and returns them by family. */
export function onePerFamily(flag: string, values: string[] | undefined): { 4?: string; 6?: string } {
  const found: { 4?: string; 6?: string } = {}
  for (const value of values ?? []) {
    const family = isIP(value) as 0 | 4 | 6
    if (family === 0 || value.includes('%')) {
      throw new InvalidInput(`${flag} "${value}" is not an IP address`, {
        remedy: 'Write an address such as 10.30.0.10 or fd00:30::10.',
      })
    }
    if (found[family] !== undefined) {
      throw new InvalidInput(`${flag} names two IPv${family} addresses, ${found[family]} and ${value}`, {
        remedy: 'Give at most one IPv4 and one IPv6 address.',
      })
    }
    found[family] = value
  }
  return found
}

/** Milliseconds of `30`, `30s`, `2m`, `500ms`; a number alone is seconds. */
export function durationFlag(flag: string): (value: string) => number {
  const factors: Record<string, number> = { '': 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  return (value) => {
    const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)$/.exec(value.trim())
    const duration = match ? Number(match[1]) * factors[match[2]!]! : 0
    // setTimeout takes no more than 2^31 - 1 ms and would fire at once
    if (duration >= 1 && duration < 2 ** 31) return duration
    throw new InvalidInput(`${flag} "${value}" is not a duration between 1ms and 500h`, {
      remedy: 'Write a number of seconds, or one with the unit ms, s, m or h, such as 30s.',
    })
  }
}

/** Seconds of `90d`, `12h`, `30m` or `45s`: how long something is to be valid, a minute at least and ten years at most. */
export function lifetimeFlag(flag: string): (value: string) => number {
  const factors: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }
  return (value) => {
    const match = /^([0-9]{1,9})([smhd])$/.exec(value.trim())
    const seconds = match ? Number(match[1]) * factors[match[2]!]! : 0
    if (seconds >= 60 && seconds <= 3650 * 86_400) return seconds
    throw new InvalidInput(`${flag} "${value}" is not a time between 60s and 3650d`, {
      remedy: 'Write a whole number with the unit s, m, h or d, such as 12h or 90d.',
    })
  }
}

/** Tells the user which flags were understood and have no effect, and why. `reasons` is by option attribute. */
export function explainUnused(context: VerbContext, options: object, reasons: Record<string, string>): void {
  for (const [attribute, reason] of Object.entries(reasons)) {
    if ((options as Record<string, unknown>)[attribute] !== undefined) context.note(`note: ${reason}`)
  }
}
