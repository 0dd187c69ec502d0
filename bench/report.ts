import type { MeasuredRow } from './suite.ts'

/** One JSON document; `quick` is there only when the run was shortened. */
export function jsonReport(rows: MeasuredRow[], quick: boolean): string {
  return JSON.stringify({ ...(quick ? { quick: true } : {}), rows }, undefined, 2)
}

/** A table for people, with a line that sums it up. */
export function tableReport(rows: MeasuredRow[], quick: boolean): string {
  const head = ['what', 'value', 'unit', 'compared with', 'target', 'met', 'detail']
  const body = rows.map((row) => [
    row.name,
    row.value === null ? '-' : String(row.value),
    row.unit,
    row.comparedWith ?? '-',
    row.target,
    row.met ? 'yes' : 'NO',
    row.detail,
  ])
  const widths = head.map((_, column) => Math.max(...[head, ...body].map((cells) => cells[column]!.length)))
  const lines = [head, ...body].map((cells) => cells.map((cell, column) => cell.padEnd(widths[column]!)).join('  '))
  const met = rows.filter((row) => row.met).length
  const summary = `${met} of ${rows.length} rows met${quick ? ' (quick run: shortened, not to be quoted)' : ''}`
  return [...lines.map((line) => line.trimEnd()), '', summary].join('\n')
}

/** The table as Markdown, for docs/performance.md. */
export function markdownReport(rows: MeasuredRow[]): string {
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`
  const head = ['what', 'value', 'compared with', 'target', 'met', 'detail']
  const body = rows.map(({ name, value, unit, comparedWith, target, met, detail }) => {
    const shown = value === null ? '-' : unit === 'ratio' ? String(value) : `${value} ${unit}`
    return line([name, shown, comparedWith ?? '-', target, met ? 'yes' : '**no**', detail])
  })
  return [line(head), line(head.map(() => '---')), ...body].join('\n')
}
