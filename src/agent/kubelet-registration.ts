import { join } from 'node:path'
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader'
import type { Logger } from '../base/index.ts'
import { conversion, CsiServer, driverName } from '../storage/csi/index.ts'

/** k8s.io/kubelet/pkg/apis/pluginregistration/v1, api.proto; kubelet is the client. */
const registrationProtocol = {
  nested: {
    pluginregistration: {
      nested: {
        PluginInfo: {
          fields: {
            type: { type: 'string', id: 1 },
            name: { type: 'string', id: 2 },
            endpoint: { type: 'string', id: 3 },
            supportedVersions: { rule: 'repeated', type: 'string', id: 4 },
          },
        },
        RegistrationStatus: {
          fields: { pluginRegistered: { type: 'bool', id: 1 }, error: { type: 'string', id: 2 } },
        },
        RegistrationStatusResponse: { fields: {} },
        InfoRequest: { fields: {} },
        Registration: {
          methods: {
            GetInfo: { requestType: 'InfoRequest', responseType: 'PluginInfo' },
            NotifyRegistrationStatus: {
              requestType: 'RegistrationStatus',
              responseType: 'RegistrationStatusResponse',
            },
          },
        },
      },
    },
  },
}

/** Versions of CSI, by which kubelet finds out how to speak. */
const supportedVersions = ['1.0.0']

/**
 * Tells kubelet of the CSI socket, as the node-driver-registrar does beside other drivers: kubelet watches a folder for
 * sockets and asks at each what there is.
 */
export function registerWithKubelet(registry: string, endpoint: string, logger: Logger): CsiServer {
  const protocol = fromJSON(registrationProtocol as unknown as Parameters<typeof fromJSON>[0], conversion)
  const definition = protocol['pluginregistration.Registration'] as ServiceDefinition
  const methods = {
    GetInfo: () => ({ type: 'CSIPlugin', name: driverName, endpoint, supportedVersions }),
    NotifyRegistrationStatus({ pluginRegistered, error }: { pluginRegistered: boolean; error: string }) {
      if (pluginRegistered) logger.notice({ endpoint }, 'kubelet knows the CSI socket')
      else logger.error({ endpoint, reason: error }, 'kubelet has refused the CSI socket')
      return {}
    },
  }
  return new CsiServer(
    join(registry, `${driverName}-reg.sock`),
    [{ name: 'Registration', definition, methods }],
    logger,
  )
}
