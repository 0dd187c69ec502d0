import { RestStore } from '../store/index.ts'
import { controllerServices, CsiServer, identityService } from '../storage/csi/index.ts'
import { nodeService, type StorageAgent } from '../storage/agent/index.ts'
import type { AgentOptions } from './agent.ts'
import { registerWithKubelet } from './kubelet-registration.ts'
import type { Part } from './parts.ts'
import { version } from './version.ts'

/** Milliseconds that one request to control may take. */
const requestTimeout = 5_000

/** The services of CSI that the configuration asks for, at one socket. */
export function createCsi({ config, logger }: AgentOptions, server: string, storage: StorageAgent): Part[] {
  const { csi, control, nodeName } = config
  if (!csi) return []
  const { socket, controllerTokenFile: tokenFile, kubeletRegistry } = csi
  const store = tokenFile ? new RestStore({ server, ...control, tokenFile, timeout: requestTimeout }) : undefined
  const services = [
    identityService({ version, hasController: store !== undefined, isReady: () => storage.isReady }),
    ...(store ? controllerServices({ store, logger }) : []),
    nodeService({
      nodeName,
      maximumVolumes: () => storage.maximumVolumes(),
      publisher: storage.publisher,
      attachedDevice: (volumeName) => storage.attachedDevice(volumeName),
    }),
  ]
  const own: Part[] = store ? [{ name: 'store of CSI', start: () => {}, stop: () => store.close() }] : []
  const registration = kubeletRegistry ? [registerWithKubelet(kubeletRegistry, socket, logger)] : []
  return [...own, new CsiServer(socket, services, logger), ...registration]
}
