import type { Logger } from '../../base/index.ts'
import { Conflict } from '../../base/index.ts'
import type { AddRequest, ContainerInterface } from '../attachments/wish.ts'
import { decodeInput, versionForErrors, type PreviousResult } from './configuration.ts'
import { cniCodes, toCniError } from './errors.ts'
import { parseRequest, type CniEnvironment, type CniRequest } from './request.ts'
import { formatResult, type AttachedInterface, type AttachmentResult } from './result.ts'
import { supportedVersions } from './versions.ts'

/** What the verbs do, in the terms of the agent. Every operation is idempotent and throws CarbonadoErrors. */
export interface AttachmentOperations {
  add(request: AddRequest): Promise<AttachmentResult>
  /** Returns when nothing can be sent or received any more; also for what was never there. */
  remove(container: ContainerInterface): Promise<void>
  /** The attachment when it is there and whole. Throws otherwise. */
  check(container: ContainerInterface, netns: string): Promise<AttachmentResult>
  /** Removes what is attached under the CNI network name and not listed. */
  collectGarbage(cniNetwork: string, valid: { containerId: string; interfaceName: string }[]): Promise<void>
  /** Throws with details.cniCode 50 or 51 when ADD cannot work now. */
  status(): Promise<void>
}

/** What the plugin is to print and exit with. */
export interface CniReply {
  exitCode: number
  output: string
}

/** Answers one call of a runtime; never throws. `input` is what came on standard input. */
export type CniHandler = (environment: CniEnvironment, input: Uint8Array) => Promise<CniReply>

/** Makes the handler of all verbs of the CNI specification 1.1.0 and the versions before. */
export function createCniHandler(operations: AttachmentOperations, logger: Logger): CniHandler {
  return async (environment, input) => {
    let decoded: Record<string, unknown> | undefined
    try {
      const isVersion = environment.get('CNI_COMMAND') === 'VERSION'
      decoded = isVersion && input.length === 0 ? {} : decodeInput(input)
      const output = await answer(operations, parseRequest(environment, decoded))
      return { exitCode: 0, output: output === undefined ? '' : `${JSON.stringify(output)}\n` }
    } catch (error) {
      const failure = toCniError(error, versionForErrors(decoded))
      logger.warn({ err: error, ...namesOf(environment), cniCode: failure.code }, 'a CNI call failed')
      return { exitCode: 1, output: `${JSON.stringify(failure)}\n` }
    }
  }
}

function namesOf(environment: CniEnvironment): Record<string, string | undefined> {
  return {
    verb: environment.get('CNI_COMMAND'),
    containerId: environment.get('CNI_CONTAINERID'),
    interfaceName: environment.get('CNI_IFNAME'),
  }
}

async function answer(operations: AttachmentOperations, request: CniRequest): Promise<object | undefined> {
  switch (request.verb) {
    case 'VERSION':
      return { cniVersion: request.version, supportedVersions }
    case 'ADD': {
      const attached = request.add && (await operations.add(request.add))
      return formatResult(request.version, attached, request.previous, request.dns)
    }
    case 'DEL':
      return void (await operations.remove(request.container))
    case 'CHECK':
      return comparePrevious(await operations.check(request.container, request.netns), request.previous)
    case 'GC':
      return void (await operations.collectGarbage(request.cniNetwork, request.valid))
    case 'STATUS':
      return void (await operations.status())
  }
}

/** CHECK is about what the runtime was told: our interfaces and addresses must be in it. Others may have added more. */
function comparePrevious(attached: AttachmentResult, previous: PreviousResult): undefined {
  const differences = [attached, ...(attached.children ?? [])].flatMap((each) => missingInterface(each, previous))
  for (const { address, prefixLength } of attached.addresses) {
    const text = `${address}/${prefixLength}`
    if (!previous.ips?.some((ip) => ip.address === text)) differences.push(`address ${text} is not in prevResult`)
  }
  if (differences.length === 0) return undefined
  throw new Conflict(`the attachment is not the one of prevResult: ${differences.join('; ')}`, {
    remedy: 'Delete the container and start it again.',
    details: { cniCode: cniCodes.checkFailed },
  })
}

function missingInterface({ interfaceName, macAddress }: AttachedInterface, previous: PreviousResult): string[] {
  const known = previous.interfaces?.find(({ name, sandbox }) => name === interfaceName && (sandbox ?? '') !== '')
  if (!known) return [`interface ${interfaceName} is not in prevResult`]
  if (!known.mac || known.mac.toLowerCase() === macAddress) return []
  return [`interface ${interfaceName} has MAC ${macAddress}, prevResult says ${known.mac}`]
}
