/** What one sending node sends to one receiver, as far as the allocation needs to know. Rates in wire bits per second. */
export interface SenderDemand {
  /** Name of the sending node; undefined when it is outside the cluster and cannot be told. */
  node: string | undefined
  /** What arrives. */
  rate: number
  /** What it would send if it were let; Infinity when it is being held back. Never below `rate` for one outside. */
  wants: number
}

/** A receiving endpoint. Rates in wire bits per second. */
export interface ReceiverDemand {
  id: string
  /** What of its floor is set aside for it now: 0 for best effort and for who receives nothing. */
  reserve: number
  /** Absent: none. */
  cap?: number
  senders: SenderDemand[]
}

/** How much a node may send to a receiver. */
export interface ReceiveLimit {
  receiver: string
  node: string
  rate: number
}

/** What is to be shared, and the least that anybody is let send so that an idle flow can show itself. */
export interface Link {
  /** Wire bits per second that may arrive in all. */
  budget: number
  /** Wire bits per second; the least limit. */
  least: number
}

/**
 * Shares a link among receivers: what comes from outside is taken as it is; then each has its reserve; the rest is
 * shared max-min, never above what is wanted or above a cap. A receiver's part is shared max-min among its senders. The
 * limits add up to at most the budget less what comes from outside, or to the reserves where outside leaves less (and
 * `least` for each).
 */
export function allocateReceive(link: Link, receivers: ReceiverDemand[]): ReceiveLimit[] {
  const parts = receivers.map(partOf)
  const outside = sum(parts.map((part) => part.outside))
  const reserved = sum(parts.map((part) => part.reserve))
  const rest = Math.max(0, link.budget - outside - reserved)
  const extras = shareMaxMin(
    rest,
    parts.map((part) => part.wants - part.reserve),
  )
  return parts.flatMap((part, index) => limitsWithin(part, part.reserve + extras[index]!, link.least))
}

interface Part {
  receiver: ReceiverDemand
  outside: number
  /** For the senders that can be told. */
  reserve: number
  wants: number
}

function partOf(receiver: ReceiverDemand): Part {
  const outside = sum(receiver.senders.filter(({ node }) => node === undefined).map(({ rate }) => rate))
  const wanted = sum(receiver.senders.filter(({ node }) => node !== undefined).map(({ wants }) => wants))
  const wants = Math.min(wanted, Math.max(0, (receiver.cap ?? Infinity) - outside))
  return { receiver, outside, wants, reserve: Math.min(wants, Math.max(0, receiver.reserve - outside)) }
}

function limitsWithin({ receiver }: Part, amount: number, least: number): ReceiveLimit[] {
  const senders = receiver.senders.filter((sender) => sender.node !== undefined)
  const shares = shareMaxMin(
    amount,
    senders.map(({ wants }) => wants),
  )
  return senders.map(({ node }, index) => ({
    receiver: receiver.id,
    node: node!,
    rate: Math.max(least, shares[index]!),
  }))
}

/** Shares an amount max-min: nobody gets more than it wants, and who gets less than that gets as much as anybody. */
export function shareMaxMin(amount: number, wants: number[]): number[] {
  const shares = wants.map(() => 0)
  const order = wants.map((want, index) => ({ want, index })).sort((a, b) => a.want - b.want)
  let left = amount
  order.forEach(({ want, index }, position) => {
    const share = Math.min(want, left / (order.length - position))
    shares[index] = Math.max(0, share)
    left -= shares[index]
  })
  return shares
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
