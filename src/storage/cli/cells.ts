import { formatSpace } from '../../guarantee/index.ts'

/** A size as one word, so that every line of a table has as many words as there are columns. */
export function spaceCell(bytes: number): string {
  return formatSpace(bytes).replace(' ', '')
}
