/** One column of a table of rows of type T. */
export interface Column<T> {
  header: string
  /** The cell; undefined and empty become `-`, so that every line has the same number of words. */
  value(row: T): string | number | undefined
  /** Shown with `-o wide` only. */
  wide?: boolean
}

/** Lays rows out under their headers, columns two spaces apart, no trailing spaces. */
export function renderTable<T>(columns: Column<T>[], rows: T[], options: { wide: boolean }): string {
  const shown = columns.filter((column) => options.wide || !column.wide)
  const lines = [
    shown.map((column) => column.header),
    ...rows.map((row) => shown.map((column) => cell(column.value(row)))),
  ]
  const widths = shown.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)))
  return lines
    .map((line) =>
      line
        .map((text, index) => text.padEnd(widths[index]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Lays out `label: value` lines with the values in one column. */
export function renderFields(fields: [label: string, value: string | number | undefined][], indent = ''): string {
  const width = Math.max(...fields.map(([label]) => label.length)) + 1
  return fields.map(([label, value]) => `${indent}${`${label}:`.padEnd(width)}  ${cell(value)}`).join('\n')
}

function cell(value: string | number | undefined): string {
  const text = value === undefined ? '' : String(value)
  return text === '' ? '-' : text.replaceAll(/\s*\n\s*/g, ' ')
}

/** Labels as one word: `a=b,c=d`, sorted. */
export function formatLabels(labels: Record<string, string> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',')
}
