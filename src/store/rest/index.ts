export * from './rest-client.ts'
export * from './rest-store.ts'
export * from './status.ts'
