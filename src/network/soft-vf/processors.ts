import { readFileSync } from 'node:fs'

let known: number | undefined

/** How many processors the machine may ever have: maps with a value for each have so many. */
export function possibleProcessors(): number {
  return (known ??= countProcessors(readFileSync('/sys/devices/system/cpu/possible', 'utf8')))
}

/** Counts a list in the kernel's form, such as `0-3,8`. */
function countProcessors(list: string): number {
  return list
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0)
}
