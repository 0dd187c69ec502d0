export { FilePoolFormat } from './file/index.ts'
export { LvmThinFormat } from './lvm-thin/index.ts'
