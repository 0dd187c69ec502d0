export * from './network-admission.ts'
