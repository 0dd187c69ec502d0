import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { nodePlaces, type CniOutcome, type Lab } from '../../lab/index.ts'
import { agentProgram, controlMachine } from '../../lab/programs.ts'
import { AddressClaim, Endpoint, MacClaim, type Allocation } from '../../src/api/index.ts'
import { cniCodes } from '../../src/network/cni/index.ts'
import { expectNothingElse, type Attached } from './inventory.ts'
import { seededRandom, type Random } from './random.ts'
import { describe, Sandbox, type SandboxWishes } from './sandboxes.ts'
import { expectRunning } from './still-running.ts'

/** How wild a storm is. */
export interface StormOptions {
  /** ADD and DEL calls in all, those that fail included. */
  operations: number
  /** Kills with SIGKILL in all, of control and of the agents alike. */
  kills: number
  /** Runtimes per node that call side by side. */
  driversPerNode: number
  /** What containers ask for; each ADD takes one of them. */
  wishes: SandboxWishes[]
  /** Static endpoints that all drivers want. */
  staticEndpoints: string[]
  /** Share of the kills of nodes that cut the power of the node instead of killing its agent; none unless told. */
  powerFailures?: number
}

/** What a storm did. */
export interface StormTally {
  added: number
  refused: Record<string, number>
  removed: number
  kills: number
  powerFailures: number
  seconds: number
}

/** Attached at most by one driver. */
const keptByDriver = 4
/**
 * Drivers ADD and DEL on all nodes while control and agents are killed at random moments; each driver does what a runtime
 * does: DEL until it succeeds, DEL or the same ADD again after an ADD that failed. Then everything must agree, work, and
 * be gone after a DEL of the rest. The seed is printed; $CARBONADO_SEED repeats the choices, though not the timing.
 */
export async function runStorm(lab: Lab, options: StormOptions): Promise<StormTally> {
  const random = seededRandom()
  console.log(`storm of ${options.operations} operations and ${options.kills} kills: CARBONADO_SEED=${random.seed}`)
  const storm = new Storm(lab, options, random)
  await storm.run()
  await storm.verify()
  return storm.tally
}

class Storm {
  readonly tally: StormTally = { added: 0, refused: {}, removed: 0, kills: 0, powerFailures: 0, seconds: 0 }
  readonly #lab: Lab
  readonly #options: StormOptions
  readonly #random: Random
  readonly #attached = new Set<Sandbox>()
  /** Who was told that it has an address or MAC and has not begun to give it back. */
  readonly #holders = new Map<string, Sandbox>()
  /** How often the power of a node has failed so far; an odd half while it is off. */
  readonly #boots = new Map<string, number>()
  #operations = 0
  #isOver = false

  constructor(lab: Lab, options: StormOptions, random: Random) {
    this.#lab = lab
    this.#options = options
    this.#random = random
  }

  async run(): Promise<void> {
    const begun = performance.now()
    const drivers = this.#lab.nodes.flatMap((node, index) =>
      Array.from({ length: this.#options.driversPerNode }, (_, driver) =>
        this.#drive(node, this.#random.fork(1 + index * 100 + driver)),
      ),
    )
    const driving = Promise.all(drivers).finally(() => (this.#isOver = true))
    driving.catch(() => {}) // awaited below
    const killing = Promise.all(
      ['control', ...this.#lab.nodes].map((victim, index) => this.#kill(victim, this.#random.fork(10_000 + index))),
    )
    const [driven, killed] = await Promise.allSettled([driving, killing])
    for (const outcome of [killed, driven]) if (outcome.status === 'rejected') throw outcome.reason
    this.tally.seconds = (performance.now() - begun) / 1000
  }

  /** Everything agrees, works, and nothing is left of what was removed. */
  async verify(): Promise<void> {
    const left = [...this.#attached]
    await expectNothingElse(this.#lab, left.map(asAttached))
    await this.#expectAcknowledged(left)
    await inGroups(left, async (sandbox) => {
      const outcome = await sandbox.check()
      expect(outcome.ok, `CHECK of ${sandbox.id}: ${outcome.ok ? '' : describe(outcome.error)}`).toBe(true)
    })
    await this.#expectReachable(left)
    await inGroups(left, (sandbox) => sandbox.remove())
    await expectNothingElse(this.#lab, [])
    for (const kind of [AddressClaim, MacClaim]) {
      const claims = (await this.#lab.store.list<AddressClaim | MacClaim>(kind as never)).items
      const ofDynamic = claims.filter(({ spec }) => !this.#options.staticEndpoints.includes(spec.endpoint.name))
      expect(ofDynamic, `claims of ${kind.kind} that nobody has`).toEqual([])
    }
    await Promise.all(this.#lab.nodes.map((node) => expectNoFiles(this.#lab, node)))
  }

  async #drive(node: string, random: Random): Promise<void> {
    let mine: Sandbox[] = []
    while (this.#operations < this.#options.operations) {
      const boot = await this.#whenUp(node)
      try {
        await this.#callOnce(node, random, mine)
      } catch (error) {
        if (this.#bootOf(node) === boot) throw error
      }
      if (this.#bootOf(node) !== boot) mine = [] // all that was there has gone with the power
    }
  }

  async #callOnce(node: string, random: Random, mine: Sandbox[]): Promise<void> {
    if (mine.length >= keptByDriver || (mine.length > 0 && random.chance(0.4))) {
      const [sandbox] = mine.splice(random.below(mine.length), 1)
      return this.#remove(sandbox!, random)
    }
    const sandbox = await this.#add(node, random)
    if (sandbox) mine.push(sandbox)
  }

  async #add(node: string, random: Random): Promise<Sandbox | undefined> {
    const { wishes, staticEndpoints } = this.#options
    const isStatic = staticEndpoints.length > 0 && random.chance(0.1)
    const boot = this.#bootOf(node)
    const sandbox = await Sandbox.make(
      this.#lab,
      node,
      isStatic ? { endpointId: random.pick(staticEndpoints) } : random.pick(wishes),
    )
    for (let attempt = 0; ; attempt++) {
      this.#operations++
      const outcome = await sandbox.add()
      if (this.#bootOf(node) !== boot) return undefined
      if (outcome.ok) return this.#took(sandbox)
      this.#expectRefusal(outcome, isStatic)
      if (attempt === 3 || random.chance(0.5)) break
    }
    this.#operations++
    await sandbox.remove()
    return undefined
  }

  /** Changes when the power of a node goes and when it comes back. */
  #bootOf(node: string): number {
    return this.#boots.get(node) ?? 0
  }

  async #whenUp(node: string): Promise<number> {
    while (!Number.isInteger(this.#bootOf(node))) await sleep(20)
    return this.#bootOf(node)
  }

  async #failPower(node: string): Promise<void> {
    this.tally.powerFailures++
    this.#boots.set(node, this.#bootOf(node) + 0.5)
    try {
      await this.#lab.killNode(node)
      for (const sandbox of this.#attached) if (sandbox.node === node) this.#attached.delete(sandbox)
      for (const [thing, sandbox] of this.#holders) if (sandbox.node === node) this.#holders.delete(thing)
      await this.#lab.startNode(node)
    } finally {
      this.#boots.set(node, this.#bootOf(node) + 0.5) // whoever waits goes on, and fails if it did not come up
    }
  }

  #took(sandbox: Sandbox): Sandbox {
    for (const each of heldBy(sandbox)) {
      const other = this.#holders.get(each)
      expect(other && `${other.id} on ${other.node}`, `${each} given to ${sandbox.id} while in use`).toBeUndefined()
      this.#holders.set(each, sandbox)
    }
    this.#attached.add(sandbox)
    this.tally.added++
    return sandbox
  }

  #expectRefusal(outcome: CniOutcome & { ok: false }, isStatic: boolean): void {
    const { code } = outcome.error
    const allowed = [cniCodes.tryAgainLater, ...(isStatic ? [cniCodes.conflict] : [])] as number[]
    expect(allowed, `an ADD was refused with ${describe(outcome.error)}`).toContain(code)
    this.tally.refused[code] = (this.tally.refused[code] ?? 0) + 1
  }

  async #remove(sandbox: Sandbox, random: Random): Promise<void> {
    for (const each of heldBy(sandbox)) this.#holders.delete(each)
    this.#attached.delete(sandbox)
    if (random.chance(0.2)) await this.#lab.removeNetns(sandbox.node, sandbox.id) // a runtime may do so before DEL
    this.#operations++
    await sandbox.remove()
    if (random.chance(0.1)) await sandbox.del() // once too often does no harm
    this.tally.removed++
  }

  async #kill(victim: string, random: Random): Promise<void> {
    while (!this.#isOver && this.tally.kills < this.#options.kills) {
      await sleep(random.below(500))
      // spread over the whole storm
      if (this.tally.kills / this.#options.kills > this.#operations / this.#options.operations) continue
      this.tally.kills++
      expectRunning(victim === 'control' ? controlMachine : agentProgram(victim))
      if (victim === 'control') {
        await this.#lab.stopControl({ kill: true })
        await this.#lab.startControl()
      } else if (random.chance(this.#options.powerFailures ?? 0)) {
        await this.#failPower(victim)
      } else {
        await this.#lab.killAgent(victim)
        await this.#lab.startAgent(victim)
      }
    }
  }

  /** The store has for each container what its runtime was told, and nobody has what another has. */
  async #expectAcknowledged(sandboxes: Sandbox[]): Promise<void> {
    const { items } = await this.#lab.store.list(Endpoint)
    for (const { id, addresses, inside } of sandboxes) {
      const storedFor = (name: string): Allocation | undefined => {
        const isIts = ({ spec: { holder } }: Endpoint): boolean =>
          holder?.containerId === id && holder.interfaceName === name
        const allocation = items.find(isIts)?.status?.allocation
        return allocation?.state === 'Allocated' ? allocation : undefined
      }
      for (const { name, mac } of inside)
        expect(storedFor(name), `what the store has for ${name} of ${id}`).toMatchObject({ macAddress: mac })
      const stored = storedFor('eth0')?.addresses.map(({ address }) => address) ?? []
      expect(stored.sort()).toEqual([...addresses].sort())
    }
    const all = sandboxes.flatMap(heldBy)
    expect(new Set(all).size, 'addresses or MACs given twice').toBe(all.length)
  }

  async #expectReachable(sandboxes: Sandbox[]): Promise<void> {
    const [first, ...others] = sandboxes.filter(({ address }) => address.startsWith('10.30.'))
    const reached = await Promise.all(others.slice(0, 12).map((other) => first!.reaches(other.address, 2)))
    expect(reached).toEqual(reached.map(() => true))
  }
}

/** What a runtime was told that its container has: addresses of the primary interface, MACs of all. */
function heldBy({ addresses, inside }: Sandbox): string[] {
  return [...addresses, ...inside.map(({ mac }) => mac)]
}

function asAttached({ node, id, inside }: Sandbox): Attached {
  return { node, id, interfaceNames: inside.map(({ name }) => name) }
}

async function inGroups<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 12) await Promise.all(items.slice(at, at + 12).map(work))
}

/** Files that an agent leaves behind when it has nothing attached. */
async function expectNoFiles(lab: Lab, node: string): Promise<void> {
  const list = async (folder: string): Promise<string[]> =>
    (await lab.nodeExec(node, ['sh', '-c', `ls -A ${folder} 2> /dev/null || true`])).stdout.split('\n').filter(Boolean)
  const known = /^(journal\.db(-wal|-shm)?|node\.json|senders\.json|(volume-)?attainment\.json|volumes)$/
  const unknown = async (): Promise<string[]> => (await list(nodePlaces.agentState)).filter((name) => !known.test(name))
  // one of them may just be being written
  await expect.poll(unknown, { message: `files in the agent's state on ${node}` }).toEqual([])
  expect(await list(`${nodePlaces.agentState}/volumes`), `volumes on ${node}`).toEqual([])
  const pins = (await list(nodePlaces.bpffs)).filter((name) => !/^(maps|uplink|v[0-9a-f]{12}(-\w+)?)$/.test(name))
  expect(pins, `pins on ${node}`).toEqual([])
  expect(await list(nodePlaces.netns), `network namespaces on ${node}`).toEqual([])
}
