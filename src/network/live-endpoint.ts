import type { EndpointCounters } from './engine.ts'
import type { EndpointRates } from './rates.ts'

/** What an agent tells at `/v1/endpoints` about one attached endpoint. Bandwidth and rates in bits per second. */
export interface LiveEndpoint extends EndpointCounters {
  namespace: string
  name: string
  containerId: string
  interfaceName: string
  bandwidthFloor: number
  bandwidthCap?: number
  /** Over the last second. */
  rates: EndpointRates
}
