export { createSoftVfEngine, type SoftVfOptions } from './engine.ts'
