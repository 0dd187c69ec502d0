import koffi from 'koffi'
import { getSystemErrorName } from 'node:util'

const library = koffi.load(null)
const systemCall = library.func('int ioctl(int descriptor, unsigned long request, void *argument)')

/** An ioctl that the kernel refused. */
export class IoctlError extends Error {
  /** Name of the errno, such as EBUSY. */
  readonly code: string

  constructor(what: string, errno: number) {
    const code = getSystemErrorName(-errno)
    super(`${what}: ${code}`)
    this.code = code
  }
}

/** Calls ioctl(2) with a structure that the kernel reads and writes; `what` names the call in the error. Throws IoctlError. */
export function ioctl(descriptor: number, request: number, argument: Buffer | null, what: string): number {
  const result = systemCall(descriptor, request, argument) as number
  if (result < 0) throw new IoctlError(what, koffi.errno())
  return result
}

/** As `ioctl`, for one that takes long: in a thread of Node's pool. Which error it was is not known there: false. */
export function ioctlInThread(descriptor: number, request: number, argument: Buffer | null): Promise<boolean> {
  return new Promise((resolve, reject) => {
    systemCall.async(descriptor, request, argument, (error: unknown, result: number) => {
      if (error) reject(error as Error)
      else resolve(result >= 0)
    })
  })
}
