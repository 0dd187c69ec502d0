import { InvalidInput } from '../../base/index.ts'

const pattern = /^[A-Za-z0-9-]{1,64}$/

/** Ids become names of files and logical volumes. Throws InvalidInput for one that cannot. */
export function checkEntryId(id: string): void {
  if (!pattern.test(id)) throw new InvalidInput(`an id has 1 to 64 letters, digits and "-", not ${JSON.stringify(id)}`)
}

/** The largest volume of any pool: the largest file, less a sector. */
const largest = 2 ** 53 - 4096

/** Throws InvalidInput unless bytes are a size that a volume with such sectors can have. */
export function checkSize(size: number, sectorSize: number): void {
  if (Number.isSafeInteger(size) && size > 0 && size <= largest && size % sectorSize === 0) return
  throw new InvalidInput(
    `a volume has a whole number of sectors of ${sectorSize} bytes and at least one, not ${size} bytes`,
  )
}
