export * from './boot.ts'
export * from './publish-journal.ts'
export * from './publish-system.ts'
export * from './volume-publisher.ts'
