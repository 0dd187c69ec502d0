import type { NetlinkRequest } from '../netlink/index.ts'

/** A part of an endpoint that is not as it was made. */
export interface Damage {
  /** `FilterMissing`, for events and metrics. */
  reason: string
  /** What is wrong, in words. */
  message: string
  /** What makes it right again; requests that find it right are refused with EEXIST. Absent: nothing here can. */
  requests?: NetlinkRequest[]
  /** It follows from a change that was wanted: nothing to tell anybody. */
  isExpected?: true
}
