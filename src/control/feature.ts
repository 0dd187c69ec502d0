import type { Logger } from '../base/index.ts'
import type { Admit, ResourceStore } from '../store/index.ts'

/** What a feature, such as the network, brings to control. */
export interface ControlFeature {
  name: string
  admit: Admit
  /** Starts the feature's controllers; resolves once they have read the store. */
  start(store: ResourceStore, options: { logger: Logger }): Promise<{ stop(): Promise<void> }>
}
