export type { HeldReceiver } from './limit-keeper.ts'
export * from './limit-message.ts'
export * from './receive-guarantee.ts'
export type { ReceiveProblem } from './receive-problems.ts'
