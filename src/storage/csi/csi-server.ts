import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js'
import { fromJSON, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import { asCarbonadoError, Conflict, isAnswering, type CarbonadoError, type Logger } from '../../base/index.ts'
import descriptor from './csi-descriptor.json' with { type: 'json' }
import { csiCodeOf } from './csi-errors.ts'

/** One call of a service; what it throws becomes a gRPC status. */
export type CsiMethod = (request: never) => Promise<object> | object

/** A service by its name (`Controller`), with its methods by theirs (`CreateVolume`). */
export interface CsiService {
  name: string
  /** Absent: that of CSI of this name. */
  definition?: ServiceDefinition
  methods: Record<string, CsiMethod>
}

/** How messages are handed over. */
export const conversion = { longs: Number, enums: String, defaults: true, oneofs: true } as const

/** All services of CSI, for servers and for clients. */
export function csiDefinition(): PackageDefinition {
  return fromJSON(descriptor as unknown as Parameters<typeof fromJSON>[0], conversion)
}

/** Bytes of the largest request: no request of an orchestrator comes near. */
const largestRequest = 2 ** 20

/** Most calls at one time of one connection. */
const mostCalls = 256

/** A gRPC server on a unix socket that only root may use; methods that no service has are UNIMPLEMENTED. */
export class CsiServer {
  readonly name: string
  readonly #server = new Server({
    'grpc.max_receive_message_length': largestRequest,
    'grpc.max_concurrent_streams': mostCalls,
  })
  readonly #socket: string

  constructor(socket: string, services: CsiService[], logger: Logger) {
    this.name = `socket ${socket}`
    this.#socket = socket
    const definition = csiDefinition()
    for (const { name, definition: other, methods } of services) {
      const service = other ?? (definition[`csi.v1.${name}`] as ServiceDefinition)
      const handlers = Object.entries(methods).map(([method, run]) => [method, handler(name, method, run, logger)])
      this.#server.addService(service, Object.fromEntries(handlers))
    }
  }

  /** Takes the place of a socket that a killed program left; throws Conflict when another program answers there. */
  async start(): Promise<void> {
    mkdirSync(dirname(this.#socket), { recursive: true, mode: 0o700 })
    await removeLeftSocket(this.#socket)
    await new Promise<void>((resolve, reject) =>
      this.#server.bindAsync(`unix://${this.#socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    )
    chmodSync(this.#socket, 0o600)
  }

  /** Ends when the calls that run have their answers; those that take long are cut off. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#server.forceShutdown(), 3000)
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()))
    clearTimeout(timer)
  }
}

/** Requests may hold secrets, so nothing of them but the volume's or snapshot's id is ever logged. */
function handler(service: string, method: string, run: CsiMethod, logger: Logger) {
  return (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>): void => {
    const begun = performance.now()
    const facts = (): object => ({
      call: `${service}.${method}`,
      id: idOf(call.request),
      ms: Math.round(performance.now() - begun),
    })
    const outcome = async (): Promise<Parameters<sendUnaryData<object>>> => {
      try {
        const response = await run(call.request as never)
        logger.debug(facts(), 'a CSI call succeeded')
        return [null, response]
      } catch (thrown) {
        const error = asCarbonadoError(thrown)
        if (error.code === 'Internal') logger.warn({ ...facts(), err: error }, 'a CSI call failed')
        else logger.debug({ ...facts(), code: csiCodeOf(error), reason: error.message }, 'a CSI call was refused')
        return [{ code: status[csiCodeOf(error)], details: detailsOf(error) }, null]
      }
    }
    outcome()
      .then((result) => answer(...result))
      .catch((err: unknown) => logger.error({ ...facts(), err }, 'a CSI call could not be answered'))
  }
}

/** What of a request is logged. */
function idOf(request: object): string | undefined {
  const { volumeId, snapshotId, name } = request as Record<string, unknown>
  const id = volumeId ?? snapshotId ?? name
  return typeof id === 'string' ? id.slice(0, 128) : undefined
}

/**
 * gRPC carries details in a header: one line, and not a long one. What was cut out of a request may begin or end with half
 * a character, which gRPC refuses to send.
 */
function detailsOf({ message, remedy }: CarbonadoError): string {
  const text = remedy === undefined ? message : `${message}. ${remedy}`
  return text.replaceAll(/\s+/g, ' ').slice(0, 1500).toWellFormed()
}

async function removeLeftSocket(path: string): Promise<void> {
  const entry = lstatSync(path, { throwIfNoEntry: false })
  if (!entry) return
  if (!entry.isSocket()) {
    throw new Conflict(`${path} is there and is no socket`, { remedy: 'Choose another path for the CSI socket.' })
  }
  if (await isAnswering(path)) {
    throw new Conflict(`another program listens on ${path}`, { remedy: 'Stop the other agent of this node first.' })
  }
  unlinkSync(path)
}
