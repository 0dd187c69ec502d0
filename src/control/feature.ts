import type { KindDefinition, KubeObject } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import type { Admit, InformerOf, ResourceStore } from '../store/index.ts'

/** The running controllers of a feature. */
export interface FeatureControllers {
  /**
   * Waits, a moment at the longest, until what follows from a write has been decided: the answer to the write then tells.
   * Undefined for what nobody decides about.
   */
  settled?(kind: KindDefinition, object: KubeObject): Promise<void> | undefined
  stop(): Promise<void>
}

/** What a feature's controllers are started with. */
export interface FeatureOptions {
  logger: Logger
  /** Copies that others use, too; absent: the controllers read the store into copies of their own. */
  informerOf?: InformerOf
}

/** What a feature, such as the network, brings to control. */
export interface ControlFeature {
  name: string
  admit: Admit
  /** Starts the feature's controllers; resolves once they have read the store. */
  start(store: ResourceStore, options: FeatureOptions): Promise<FeatureControllers>
}
