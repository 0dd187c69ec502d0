import type { CsiService } from './csi-server.ts'

/** Name of the driver, as StorageClasses name it. */
export const driverName = 'csi.carbonado.io'

/** What this program is and serves. */
export interface IdentityOptions {
  version: string
  /** Whether the Controller and GroupController services are served at this socket. */
  hasController: boolean
  /** Whether the program can do its work now. */
  isReady: () => boolean
}

/** The Identity service. */
export function identityService({ version, hasController, isReady }: IdentityOptions): CsiService {
  const services = [
    ...(hasController ? ['CONTROLLER_SERVICE', 'GROUP_CONTROLLER_SERVICE'] : []),
    'VOLUME_ACCESSIBILITY_CONSTRAINTS',
  ]
  return {
    name: 'Identity',
    methods: {
      GetPluginInfo: () => ({ name: driverName, vendorVersion: version }),
      GetPluginCapabilities: () => ({
        capabilities: [...services.map((type) => ({ service: { type } })), { volumeExpansion: { type: 'ONLINE' } }],
      }),
      Probe: () => ({ ready: { value: isReady() } }),
    },
  }
}
