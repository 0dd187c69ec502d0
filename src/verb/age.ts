/** Time between two moments in its largest unit or two, as `dctl` shows ages: 42s, 5m, 3h20m, 12d. */
export function formatAge(since: string | undefined, now: Date): string | undefined {
  const start = since === undefined ? Number.NaN : Date.parse(since)
  if (Number.isNaN(start)) return undefined
  const seconds = Math.max(0, Math.floor((now.getTime() - start) / 1000))
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`
  return `${Math.floor(hours / 24)}d`
}
