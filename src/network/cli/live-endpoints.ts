import type { Endpoint } from '../../api/index.ts'
import { asCarbonadoError } from '../../base/index.ts'
import type { LiveEndpoint } from '../live-endpoint.ts'
import type { VerbContext } from '../../verb/index.ts'

/**
 * Asks the agents of all nodes that hold one of the endpoints; by uid. A node that does not answer is noted on standard
 * error and its endpoints are missing, so that one node that is down does not hide the others.
 */
export async function readLiveEndpoints(
  context: VerbContext,
  endpoints: Endpoint[],
): Promise<Map<string, LiveEndpoint>> {
  const nodes = new Set(endpoints.flatMap((endpoint) => endpoint.status?.attachment?.nodeName ?? []))
  const answers = await Promise.all([...nodes].sort().map((nodeName) => readNode(context, nodeName)))
  return new Map(answers.flat().map((live) => [live.endpointId, live]))
}

async function readNode(context: VerbContext, nodeName: string): Promise<LiveEndpoint[]> {
  try {
    return (await context.readAgent<{ endpoints: LiveEndpoint[] }>(nodeName, 'v1/endpoints')).endpoints
  } catch (error) {
    const { message, remedy } = asCarbonadoError(error)
    context.note(`note: no live figures of node ${nodeName}: ${message}${remedy ? ` (${remedy})` : ''}`)
    return []
  }
}

/** All drops of an endpoint, whatever the reason. */
export function totalDrops(live: LiveEndpoint): number {
  return Object.values(live.drops).reduce((sum, count) => sum + count, 0)
}
