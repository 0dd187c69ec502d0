import { networkAdmission, startNetworkControllers } from '../network/control.ts'
import type { ControlFeature } from './feature.ts'

/** What this build of control consists of. */
export const features: ControlFeature[] = [
  { name: 'network', admit: networkAdmission, start: (store, options) => startNetworkControllers(store, options) },
]
