import { Endpoint, type Allocation } from '../../api/index.ts'
import { CarbonadoError, Unavailable, type ErrorCode } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'

/** How long control may take to give a new endpoint its addresses. Milliseconds. */
const patience = 10_000

/**
 * Waits until control has decided about the endpoint. Throws what control refused with, or Unavailable when it has not
 * decided in time; the endpoint is left as it is.
 */
export async function waitForAllocation(store: ResourceStore, created: Endpoint): Promise<Allocation> {
  const { name, namespace, uid } = created.metadata
  const signal = AbortSignal.timeout(patience)
  const events = store.watch(Endpoint, { namespace, fieldSelector: `metadata.name=${name}`, signal })
  for await (const event of events) {
    if (event.type === 'BOOKMARK' || event.object.metadata.uid !== uid) continue
    if (event.type === 'DELETED') break
    const decision = event.object.status?.allocation
    if (decision?.state === 'Allocated') return decision
    if (decision) {
      throw new CarbonadoError(decision.code as ErrorCode, decision.message, { remedy: decision.remedy })
    }
  }
  throw new Unavailable(`control has not given endpoint ${namespace}/${name} an address within ${patience / 1000} s`, {
    remedy: `The endpoint is there and gets one as soon as control can; see \`dctl endpoint get ${name} --ns ${namespace}\`.`,
  })
}
