export * from './controller-services.ts'
export * from './csi-server.ts'
export * from './identity-service.ts'
