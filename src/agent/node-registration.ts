import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { apiVersionOf, Node, validate } from '../api/index.ts'
import { NotFound, readIfWhole, type Logger } from '../base/index.ts'
import { withDeadline } from '../network/attachments/index.ts'
import { createInformer, isNotFound, type Informer, type ResourceStore } from '../store/index.ts'
import type { NodeProblem } from './node-check.ts'
import type { Part } from './parts.ts'

/** What the agent tells of itself with every heartbeat, but for the time. */
export type AgentReport = Omit<NonNullable<NonNullable<Node['status']>['agent']>, 'heartbeat'>

/** Settings of the registration. */
export interface NodeRegistrationOptions {
  store: ResourceStore
  nodeName: string
  /** Spec to register with when there is no Node object. */
  spec: Node['spec'] | undefined
  /** Remembers the spec, so that the agent can start while control is away. */
  specFile: string
  report: () => AgentReport & { problems: NodeProblem[] }
  logger: Logger
  /** Milliseconds between heartbeats; 10 000 unless told. */
  interval?: number
  onSpecChange?: (spec: Node['spec']) => void
  /** Hears of every state of the Node that is seen. */
  onNode?: (node: Node) => void
}

/** Milliseconds that the start waits for control when it can go on without; containers cannot start meanwhile. */
const patience = 500

/** This node's Node object: made when missing, kept alive with heartbeats. */
export class NodeRegistration implements Part {
  readonly name = 'node registration'
  readonly #options: NodeRegistrationOptions
  #spec: Node['spec'] | undefined
  /** What this run has written to the file. */
  #written: Node['spec'] | undefined
  #isFileFailing = false
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> = Promise.resolve()
  #isBeatDue = false
  #isFailing = false
  readonly #ownNode: Informer<Node>

  constructor(options: NodeRegistrationOptions) {
    this.#options = options
    const { store, nodeName, logger } = options
    const selection = { fieldSelector: `metadata.name=${nodeName}` }
    this.#ownNode = createInformer(store, Node, { selection, logger })
    this.#ownNode.onChange(({ type, object }) => {
      if (type === 'DELETED') return
      options.onNode?.(object)
      this.#adopt(object.spec)
    })
  }

  /** The spec as last seen. Only after `learnSpec`. */
  get spec(): Node['spec'] {
    return this.#spec!
  }

  /**
   * Finds out what this node is: from the store, registering it there when it is new; from the last run when control is
   * away or slow; from the configuration when there was none. Throws NotFound when nobody says.
   */
  async learnSpec(): Promise<Node['spec']> {
    const { logger, spec, nodeName } = this.#options
    const known = readIfWhole<Node['spec']>(this.#options.specFile) ?? spec
    const asked = this.#getOrRegister()
    try {
      this.#adopt((await (known ? withDeadline(asked, patience, 'asking control about this node') : asked)).spec)
    } catch (error) {
      if (!known) throw error
      logger.warn({ err: error }, 'control cannot be asked about this node; going on with what is known')
      this.#spec = validate(Node, nodeObject(nodeName, known)).spec
    }
    return this.spec
  }

  start(): void {
    this.reportSoon()
    this.#timer = setInterval(() => this.reportSoon(), this.#options.interval ?? 10_000)
    void this.#ownNode.start() // control may be away; a change of the spec is then seen later
  }

  /** Reports at once instead of with the next heartbeat: something has changed that others wait for. */
  reportSoon(): void {
    if (this.#isBeatDue) return
    this.#isBeatDue = true
    this.#beating = this.#beating.then(() => {
      this.#isBeatDue = false
      return this.#beat()
    })
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#ownNode.stop()
    await this.#beating
  }

  async #beat(): Promise<void> {
    const { store, nodeName, report, logger } = this.#options
    try {
      const agent = { ...report(), heartbeat: new Date().toISOString() }
      const patch = (): Promise<Node> =>
        store.patch(Node, { name: nodeName }, { status: { agent } }, { subresource: 'status' })
      const node = await patch().catch(async (error: unknown) => {
        if (!isNotFound(error)) throw error
        await this.#getOrRegister()
        return patch()
      })
      this.#options.onNode?.(node)
      this.#adopt(node.spec)
      if (this.#isFailing) logger.notice('the heartbeat reaches control again')
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing) logger.warn({ err: error }, 'the heartbeat does not reach control')
      this.#isFailing = true
    }
  }

  async #getOrRegister(): Promise<Node> {
    const { store, nodeName, spec, logger } = this.#options
    try {
      return await store.get(Node, { name: nodeName })
    } catch (error) {
      if (!isNotFound(error)) throw error
      const known = this.#spec ?? spec
      if (!known) {
        throw new NotFound(`there is no Node ${nodeName} and the configuration has no "node" to register it with`, {
          remedy: 'Create the Node, or write its spec into the configuration of the agent as "node".',
        })
      }
      const node = await store.create(Node, nodeObject(nodeName, known))
      logger.notice({ node: nodeName }, 'registered this node')
      return node
    }
  }

  #adopt(spec: Node['spec']): void {
    const before = this.#spec
    this.#spec = spec
    if (!isDeepStrictEqual(this.#written, spec)) this.#remember(spec)
    if (before && !isDeepStrictEqual(before, spec)) this.#options.onSpecChange?.(spec)
  }

  /** A file that cannot be written is tried again with the next heartbeat; the node is what its spec says meanwhile. */
  #remember(spec: Node['spec']): void {
    const { specFile, logger } = this.#options
    try {
      mkdirSync(dirname(specFile), { recursive: true })
      writeFileSync(`${specFile}.new`, JSON.stringify(spec))
      renameSync(`${specFile}.new`, specFile)
      this.#written = spec
      if (this.#isFileFailing) logger.notice('the spec of this node can be remembered again')
      this.#isFileFailing = false
    } catch (error) {
      if (!this.#isFileFailing)
        logger.warn({ err: error }, 'the spec of this node cannot be remembered for the next start')
      this.#isFileFailing = true
    }
  }
}

function nodeObject(name: string, spec: Node['spec']): Node {
  return { apiVersion: apiVersionOf(Node), kind: Node.kind, metadata: { name }, spec }
}
