export * from './endpoint-verbs.ts'
export * from './network-verbs.ts'
export * from './perf-tier-verbs.ts'
