export * from './storage-admission.ts'
