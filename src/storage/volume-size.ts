import { formatQuantity, parseQuantity, type Quantity } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'

const mebibyte = 2 ** 20

/** Bytes of the smallest and of the largest volume. */
const smallestVolume = mebibyte
export const largestVolume = 2 ** 50

/** Bytes below which a filesystem cannot be made. */
const smallestFilesystem = { ext4: 4 * mebibyte, xfs: 300 * mebibyte }

/** Bytes of the smallest volume with a filesystem, or of the smallest block device. */
export function leastVolumeSize(filesystem: 'ext4' | 'xfs' | undefined): number {
  return filesystem ? smallestFilesystem[filesystem] : smallestVolume
}

/** Bytes of a volume's device: the size asked for, rounded up to whole MiB. Throws InvalidInput when it is malformed. */
export function deviceSize(size: Quantity, what = 'size'): number {
  return Math.ceil(parseQuantity(size, what) / mebibyte) * mebibyte
}

/** Throws InvalidInput unless a volume may have this size with this filesystem. */
export function checkVolumeSize(size: Quantity, filesystem: 'ext4' | 'xfs' | undefined, what = 'size'): void {
  const bytes = deviceSize(size, what)
  if (bytes < smallestVolume || bytes > largestVolume) {
    throw new InvalidInput(`${what} ${size} is not between 1 MiB and 1 PiB`, {
      remedy: 'Write a size such as 500M, 10G or 1Gi.',
    })
  }
  if (filesystem && bytes < smallestFilesystem[filesystem]) {
    const smallest = formatQuantity(smallestFilesystem[filesystem])
    throw new InvalidInput(`${what} ${size} is too small for ${filesystem}, which needs ${smallest}`, {
      remedy: filesystem === 'xfs' ? 'Use a larger size, or ext4.' : 'Use a larger size.',
    })
  }
}
