export * from './network-admission.ts'
export * from './primary-rules.ts'
