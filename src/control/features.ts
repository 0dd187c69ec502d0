import type { ControlFeature } from './feature.ts'

/** What this build of control consists of. */
export const features: ControlFeature[] = []
