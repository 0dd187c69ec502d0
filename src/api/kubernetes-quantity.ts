/** Powers of ten, and powers of two, that the suffixes of Kubernetes stand for. */
const decimal: Record<string, number> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 }
const binary: Record<string, number> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 }

/** Characters; the API server writes at most 19 digits and a suffix. So nobody has numbers of a megabyte multiplied. */
const longestText = 64
/** Whatever has an exponent beyond is more than the largest number, or less than one: its text has fewer digits. */
const largestPower = 2 * longestText

const grammar = /^\+?([0-9]*)\.?([0-9]*)([numkMGTPE]?|[KMGTPE]i|[eE][+-]?[0-9]+)$/

/**
 * The whole units of a quantity as the API server of Kubernetes writes it (k8s.io/apimachinery, resource.Quantity), such
 * as 500M, 1181116006400m, 1e9 or 1.5Gi: rounded up, and 2^53 - 1 for anything above. Undefined for what is no quantity,
 * is absent, negative, or longer than any that the API server writes. What users of Carbonado write, parseQuantity reads.
 */
export function kubernetesQuantity(text: string | number | undefined): number | undefined {
  const written = String(text)
  const match = written.length > longestText ? null : grammar.exec(written)
  const [, whole = '', fraction = '', suffix = ''] = match ?? []
  if (whole + fraction === '') return undefined
  const power = Math.max(-largestPower, Math.min(largestPower, powerOfTen(suffix))) - fraction.length
  const scaled = BigInt(whole + fraction) * 2n ** BigInt(binary[suffix] ?? 0) * 10n ** BigInt(Math.max(0, power))
  const divisor = 10n ** BigInt(Math.max(0, -power))
  const units = (scaled + divisor - 1n) / divisor
  return units > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(units)
}

function powerOfTen(suffix: string): number {
  if (suffix in binary) return 0
  return decimal[suffix] ?? Number(suffix.slice(1))
}
