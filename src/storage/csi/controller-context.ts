import type { Logger } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'

/** What the services of the controller work with. They keep nothing: any number of them may serve at the same time. */
export interface ControllerContext {
  store: ResourceStore
  logger: Logger
  /** Milliseconds that a call waits for control and agents before it asks to be repeated; 8000 unless told. */
  patience?: number
}

/** Less than the 10 to 15 s that sidecars give a call, so that they are told why it takes longer. */
const defaultPatience = 8000

/** Milliseconds that a call may wait. */
export function patienceOf({ patience = defaultPatience }: ControllerContext): number {
  return patience
}
