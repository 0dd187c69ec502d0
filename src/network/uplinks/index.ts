export * from './file-tree.ts'
export * from './found-uplinks.ts'
export * from './link-facts.ts'
export * from './uplink-problems.ts'
