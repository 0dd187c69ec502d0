export { FilePoolFormat } from './file-format.ts'
