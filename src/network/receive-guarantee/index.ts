export * from './limit-message.ts'
export * from './receive-guarantee.ts'
