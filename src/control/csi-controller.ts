import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { InvalidInput, type Logger } from '../base/index.ts'
import { inPodServer, RestStore } from '../store/index.ts'
import { controllerServices, CsiServer, identityService } from '../storage/csi/index.ts'

const path = Type.String({ pattern: '^/' })

/** Configuration of a CSI Controller service that runs by itself, beside the sidecars of an orchestrator. */
export const CsiControllerConfig = Type.Object(
  {
    csi: Type.Object({ socket: path }, { additionalProperties: false }),
    /** The server with the objects; inside a pod the API server that Kubernetes tells every pod of. */
    server: Type.Optional(Type.String({ pattern: '^(https://|unix:///)' })),
    caFile: path,
    tokenFile: path,
  },
  { additionalProperties: false },
)
export type CsiControllerConfig = Readonly<Static<typeof CsiControllerConfig>>

/** Whether a configuration is one for the CSI Controller service. */
export function isForCsi(input: unknown): boolean {
  return typeof input === 'object' && input !== null && 'csi' in input
}

/** Checks a configuration. Throws InvalidInput that names what is wrong. */
export function checkCsiConfig(input: unknown, source: string): CsiControllerConfig {
  if (Value.Check(CsiControllerConfig, input)) return Object.freeze(input)
  const problems = [...Value.Errors(CsiControllerConfig, input)].slice(0, 5)
  const text = problems.map((each) => `${each.path.slice(1).replaceAll('/', '.') || 'it'}: ${each.message}`)
  throw new InvalidInput(`The configuration ${source} is not valid: ${text.join('; ')}`, {
    remedy: 'Correct the named keys; docs/csi.md lists them all.',
  })
}

/** Milliseconds that one request to the server may take. */
const requestTimeout = 5_000

/** Serves Identity and Controller. It keeps nothing, so any number of them may run; the objects decide races. */
export async function startCsiController(
  { csi: { socket }, server, caFile, tokenFile }: CsiControllerConfig,
  { logger, version }: { logger: Logger; version: string },
): Promise<{ stop: () => Promise<void> }> {
  const store = new RestStore({ server: server ?? inPodServer(), caFile, tokenFile, timeout: requestTimeout })
  const services = [
    identityService({ version, hasController: true, isReady: () => true }),
    ...controllerServices({ store, logger }),
  ]
  const csi = new CsiServer(socket, services, logger)
  await csi.start()
  return {
    async stop() {
      await csi.stop()
      await store.close()
    },
  }
}
