export * from './volume-demand.ts'
