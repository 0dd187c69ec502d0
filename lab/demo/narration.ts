import { formatQuantity } from '../../src/api/index.ts'

const colour = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code: string, text: string): string => (colour ? `\x1b[${code}m${text}\x1b[0m` : text)
const barWidth = 50

/** Prints what the demo does, and keeps count of the promises that were broken. */
export class Narrator {
  readonly broken: string[] = []
  readonly #write: (text: string) => void

  constructor(write: (text: string) => void = (text) => void process.stdout.write(text)) {
    this.#write = write
  }

  say(text = ''): void {
    this.#write(`${text}\n`)
  }

  step(number: number, title: string): void {
    this.say(`\n${paint('1;36', `${number}. ${title}`)}`)
  }

  explain(text: string): void {
    this.say(paint('2', `   ${text}`))
  }

  /** A command as a user would type it. */
  command(text: string): void {
    this.say(paint('1', `   $ ${text}`))
  }

  /** Output of a command, indented. */
  output(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.say(`     ${line}`)
  }

  /** Something that was promised: kept or broken. */
  check(kept: boolean, text: string): void {
    if (!kept) this.broken.push(text)
    this.say(kept ? `   ${paint('32', 'ok')}  ${text}` : `   ${paint('1;31', 'BROKEN')}  ${text}`)
  }

  /** One second: who is promised something, then the rest, on a scale of link or drive; `|` marks the floor. */
  bar(
    rates: { gold: number; others: number; link: number; floor: number },
    note: string,
    { name = 'gold', format = bits } = {},
  ): void {
    const width = (rate: number): number => Math.min(barWidth, Math.round((rate / rates.link) * barWidth))
    const gold = width(rates.gold)
    const others = Math.min(width(rates.others), barWidth - gold)
    const cells = [...'#'.repeat(gold), ...'-'.repeat(others), ...' '.repeat(barWidth - gold - others)]
    if (rates.floor > 0) cells[Math.min(width(rates.floor), barWidth - 1)] = '|'
    const text = cells.join('').replace(/#+/g, (part) => paint('33', part))
    this.say(`     [${text}] ${name} ${format(rates.gold)}  others ${format(rates.others)}  ${note}`)
  }
}

/** Bits per second for people, in a column. */
export function bits(rate: number): string {
  return formatQuantity(Math.round(rate / 1e6) * 1e6).padStart(5)
}

/** Operations per second for people, in a column. */
export function iops(rate: number): string {
  return formatQuantity(Math.round(rate / 10) * 10).padStart(6)
}
