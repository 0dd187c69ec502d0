export { LvmThinFormat } from './lvm-thin-format.ts'
