import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, makeGenericClientConstructor, status, type Client, type ServiceError } from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/proto-loader'
import { nodePlaces } from './places.ts'
import { machinePid } from './state.ts'
import { csiDefinition } from '../src/storage/csi/index.ts'
import type { VolumeCapability } from '../src/storage/csi/csi-messages.ts'

type Call = (
  request: object,
  options: { deadline: number },
  done: (error: ServiceError | null, answer: unknown) => void,
) => void

/** Milliseconds for which a call is repeated whose work goes on after its answer, and between two attempts. */
const repeating = { longest: 60_000, interval: 200 }

const services = ['Identity', 'Controller', 'GroupController', 'Node'] as const

/** An orchestrator that speaks to the CSI socket of a node of the lab. */
export class CsiClient implements Disposable {
  readonly #clients: Client[]
  readonly #methods = new Map<string, Call>()

  constructor(node: string) {
    const definition = csiDefinition()
    const address = `unix:///proc/${machinePid(node)}/root${nodePlaces.csiSocket}`
    this.#clients = services.map((service) => {
      const methods = definition[`csi.v1.${service}`] as ServiceDefinition
      const client = new (makeGenericClientConstructor(methods, service))(address, credentials.createInsecure(), {
        'grpc.default_authority': 'localhost',
        'grpc.initial_reconnect_backoff_ms': 20,
        'grpc.max_reconnect_backoff_ms': 200,
        'grpc.min_reconnect_backoff_ms': 20,
      })
      for (const method of Object.keys(methods)) {
        const call = (client as unknown as Record<string, Call>)[method]!
        this.#methods.set(method, call.bind(client) as Call)
      }
      return client
    })
  }

  /**
   * Calls a method, and again while the answer is ABORTED, as sidecars do; throws a ServiceError with code and details.
   * `patience` is for each attempt.
   */
  async call<T = object>(method: string, request: object, patience = 30_000): Promise<T> {
    for (const giveUp = performance.now() + repeating.longest; ; await sleep(repeating.interval)) {
      try {
        return await this.#callOnce<T>(method, request, patience)
      } catch (error) {
        if ((error as ServiceError).code !== status.ABORTED || performance.now() > giveUp) throw error
      }
    }
  }

  #callOnce<T>(method: string, request: object, patience: number): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#methods.get(method)!(request, { deadline: Date.now() + patience }, (error, answer) =>
        error ? reject(error) : resolve(answer as T),
      )
    })
  }

  /** Sends bytes as the request of a method; resolves with the code that is answered, 0 for success. */
  callRaw(path: string, request: Buffer, patience = 30_000): Promise<number> {
    const same = (bytes: Buffer): Buffer => bytes
    const options = { deadline: Date.now() + patience }
    return new Promise((resolve) => {
      this.#clients[0]!.makeUnaryRequest(path, same, same, request, options, (error) => resolve(error?.code ?? 0))
    })
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close()
  }
}

/** How a container uses a volume. */
export function capability(fsType: 'ext4' | 'xfs' | 'block', mode = 'SINGLE_NODE_WRITER'): VolumeCapability {
  const accessMode = { mode: mode as 'SINGLE_NODE_WRITER' }
  if (fsType === 'block') return { block: {}, accessMode } as VolumeCapability
  return { mount: { fsType, mountFlags: [], volumeMountGroup: '' }, accessMode }
}
