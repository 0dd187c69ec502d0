export * from './backup.ts'
export * from './embedded-store.ts'
