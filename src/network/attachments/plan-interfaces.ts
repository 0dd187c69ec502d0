import type { JournalRecord } from './journal.ts'
import { usualMetric, type AddRequest, type ContainerInterface, type EndpointWish, type Pod } from './wish.ts'

/** One interface that an ADD makes, with its place among the interfaces of its container. */
export interface InterfaceRequest extends ContainerInterface {
  netns: string
  pod?: Pod
  wish: EndpointWish
  /** Of a child: the interface that it comes and goes with. */
  primaryInterface?: string
  /** As of AttachRequest. */
  defaultRouteMetric?: number
  routingTable?: number
}

/** Interface i of a container has table firstTable + i. Far from what people choose by hand. */
const firstTable = 1000
/** Of interfaces that come beside a primary of whomever: above the kernel's own for IPv6, which that may have. */
const firstAdditionalMetric = 2000

/**
 * The interfaces that an ADD makes, the primary first; a pure function. `present` is what the container has, as by `withTables`. An interface
 * that is alone in its container is routed as the kernel does by itself; several have a metric and a table each.
 */
export function planInterfaces(request: AddRequest, present: JournalRecord[]): InterfaceRequest[] {
  const { children = [], isAdditional, cniNetwork, containerId, netns, pod } = request
  const isAlone = children.length === 0 && !isAdditional && present.length === 0
  const tables = freeTables(present)
  return [request, ...children].map(({ interfaceName, wish, metric }, index) => {
    const shared = { cniNetwork, containerId, netns, ...(pod ? { pod } : {}), interfaceName, wish }
    if (isAlone) return { ...shared, ...(metric === undefined ? {} : { defaultRouteMetric: metric }) }
    const routingTable = tables.next().value
    const usual = isAdditional ? firstAdditionalMetric + routingTable - firstTable : usualMetric(index)
    const primary = index === 0 ? {} : { primaryInterface: request.interfaceName }
    return { ...shared, ...primary, defaultRouteMetric: metric ?? usual, routingTable }
  })
}

/** What the container has, each with a table: none of it is alone any more. */
export function withTables(present: JournalRecord[]): JournalRecord[] {
  const tables = freeTables(present)
  return present.map((record) => {
    const routingTable = record.request.routingTable ?? tables.next().value
    return { ...record, request: { ...record.request, routingTable } }
  })
}

function* freeTables(present: JournalRecord[]): Generator<number, never> {
  const used = new Set(present.map(({ request }) => request.routingTable))
  for (let table = firstTable; ; table++) if (!used.has(table)) yield table
}
