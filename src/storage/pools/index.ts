export { FilePoolFormat } from './file/index.ts'
