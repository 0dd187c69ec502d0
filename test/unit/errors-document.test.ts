import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CarbonadoError, type ErrorCode } from '../../src/base/index.ts'
import { exitCodes } from '../../src/cli/exit-code.ts'
import { toCniError } from '../../src/network/cni/errors.ts'
import { statusOf } from '../../src/store/index.ts'

const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const rows = document
  .split('\n')
  .filter((line) => /^\| `/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
const codes = Object.keys(exitCodes) as ErrorCode[] // the type makes it name every code

describe('docs/errors.md', () => {
  it('lists each error code once and no other', () => {
    expect(rows.map((cells) => cells[1]).sort()).toEqual(codes.map((code) => `\`${code}\``).sort())
  })

  it.each(codes)('tells of %s its meaning, remedy and codes as they are', (code) => {
    const [, , meaning, remedy, http, cni, exit] = rows.find((cells) => cells[1] === `\`${code}\``)!
    const error = new CarbonadoError(code, 'text')
    expect([http, cni, exit].map(Number)).toEqual([
      statusOf(error).code,
      toCniError(error, '1.1.0').code,
      exitCodes[code],
    ])
    expect(meaning!.length).toBeGreaterThan(20)
    expect(remedy!.length).toBeGreaterThan(10)
  })
})
