export * from './block-device.ts'
export * from './storage-agent.ts'
export * from './volume-attacher.ts'
