export * from './images.ts'
export * from './objects.ts'
