export * from './drive-verbs.ts'
export * from './snapshot-verbs.ts'
export * from './volume-verbs.ts'
