export * from './path-facts.ts'
export * from './path-inspection.ts'
