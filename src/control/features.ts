import { networkAdmission, startNetworkControllers } from '../network/control.ts'
import { startStorageControllers, storageAdmission } from '../storage/control.ts'
import type { ControlFeature } from './feature.ts'

/** What this build of control consists of. */
export const features: ControlFeature[] = [
  { name: 'network', admit: networkAdmission, start: (store, options) => startNetworkControllers(store, options) },
  { name: 'storage', admit: storageAdmission, start: (store, options) => startStorageControllers(store, options) },
]
