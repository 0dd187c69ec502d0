import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Endpoint, Network, PerfTier } from '../../src/api/index.ts'
import { ExecError } from '../../src/base/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { refusal, Sandbox } from '../support/sandboxes.ts'

let lab: Lab
let holder: Sandbox

const [invalid, conflict, exhausted] = [2, 4, 5]

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 1 })
  const range = ['--start', '10.30.0.10', '--end', '10.30.0.20', '-g', '10.30.0.1']
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', ...range, '-v', '100'])
  await lab.dctl(['perf-tier', 'create', 'used', '-b', '10M'])
  await lab.dctl(['endpoint', 'create', 'taken', '-n', 'blue', '-i', '10.30.0.12'])
  holder = await Sandbox.attached(lab, 'n1', { network: 'blue', perfTier: 'used' })
})
afterAll(() => lab.down())

/** Runs dctl, which must fail; returns its exit code and what it said. */
async function refused(args: string[]): Promise<{ exitCode: number | null; said: string }> {
  try {
    const { stdout } = await lab.dctl(args)
    throw new Error(`dctl ${args.join(' ')} was expected to be refused; it printed: ${stdout}`)
  } catch (error) {
    if (error instanceof ExecError) return { exitCode: error.exitCode, said: error.stderr }
    throw error
  }
}

const endpoint = (...flags: string[]): string[] => ['endpoint', 'create', 'wrong', '-n', 'blue', ...flags]
const network = (...flags: string[]): string[] => ['network', 'create', 'wrong', ...flags]
const tier = (...flags: string[]): string[] => ['perf-tier', 'create', 'wrong', ...flags]

/** What is asked for, the exit code, and what the message must name. */
const wrong: [string, string[], number, RegExp][] = [
  ['an address outside of the subnet', endpoint('-i', '10.31.0.5'), invalid, /10\.31\.0\.5.*outside the subnet/],
  ['an address outside of the range', endpoint('-i', '10.30.0.21'), invalid, /10\.30\.0\.21.*outside the range/],
  ['an address that is taken', endpoint('-i', '10.30.0.12'), conflict, /10\.30\.0\.12.*default\/taken/],
  ['the address of the gateway', endpoint('-i', '10.30.0.1'), invalid, /10\.30\.0\.1.*is the gateway/],
  ['the address of the subnet', endpoint('-i', '10.30.0.0'), invalid, /10\.30\.0\.0.*network or broadcast/],
  ['the broadcast address', endpoint('-i', '10.30.0.255'), invalid, /10\.30\.0\.255.*network or broadcast/],
  ['text for an address', endpoint('-i', 'ten'), invalid, /"?ten"?/],
  ['an IPv6 address of an IPv4 network', endpoint('-i', 'fd00::5'), invalid, /fd00::5.*no IPv6 subnet/],
  ['two addresses of a family', endpoint('-i', '10.30.0.13,10.30.0.14'), invalid, /10\.30\.0\.1/],
  ['a multicast MAC', endpoint('--mac', '01:00:5e:00:00:01'), invalid, /01:00:5e:00:00:01/],
  ['VLAN 0', network('-s', '10.40.0.0/24', '-v', '0'), invalid, /--vlan.*0.*1 to 4094/],
  ['VLAN 4095', network('-s', '10.40.0.0/24', '-v', '4095'), invalid, /--vlan.*4095.*1 to 4094/],
  ['a VLAN in words', network('-s', '10.40.0.0/24', '-v', 'ten'), invalid, /--vlan.*ten/],
  ['a negative VLAN', network('-s', '10.40.0.0/24', '--vlan=-1'), invalid, /--vlan.*-1/],
  ['a range that another network of the VLAN hands out', network('-s', '10.30.0.0/24', '--start', '10.30.0.15', '--end', '10.30.0.30', '-v', '100'), conflict, /blue.*10\.30\.0|10\.30\.0.*blue/],
  ['a wider subnet of the VLAN with the same addresses', network('-s', '10.30.0.0/16', '-v', '100'), conflict, /blue/],
  ['a subnet with host bits', network('-s', '10.40.0.5/24'), invalid, /10\.40\.0\.5\/24/],
  ['a subnet that is none', network('-s', '10.40.0.0/40'), invalid, /10\.40\.0\.0\/40/],
  ['a range that ends before it starts', network('-s', '10.40.0.0/24', '--start', '10.40.0.9', '--end', '10.40.0.5'), invalid, /10\.40\.0\.9/],
  ['a range outside of the subnet', network('-s', '10.40.0.0/24', '--start', '10.41.0.1', '--end', '10.41.0.9'), invalid, /10\.41\.0/],
  ['a gateway outside of the subnet', network('-s', '10.40.0.0/24', '-g', '10.41.0.1'), invalid, /10\.41\.0\.1/],
  ['a network name that is none', ['network', 'create', 'Not_A_Name', '-s', '10.40.0.0/24'], invalid, /Not_A_Name/],
  ['a network with an unknown tier', network('-s', '10.40.0.0/24', '-p', 'platinum'), 3, /platinum/],
  ['a cap below the floor', tier('-b', '2G', '-B', '1G'), invalid, /1G.*2G|2G.*1G/],
  ['a cap on IOPS below the floor', tier('-i', '2k', '-I', '1k'), invalid, /1k.*2k|2k.*1k|1000.*2000|2000.*1000/],
  ['a negative floor', tier('--network-bw=-5M'), invalid, /-5M/],
  ['an unknown unit', tier('-b', '5furlongs'), invalid, /5furlongs/],
  ['a floor in words', tier('-b', 'plenty'), invalid, /plenty/],
  ['a floor beyond all numbers', tier('-b', '1e999'), invalid, /1e999/],
  ['deleting a network in use', ['network', 'delete', 'blue', '-y'], conflict, /blue.*in use by 2 endpoints.*default\/taken/],
  ['deleting a tier in use', ['perf-tier', 'delete', 'used', '-y'], conflict, /used.*in use by 1 endpoint/],
  ['deleting an endpoint that a container holds', ['endpoint', 'delete', 'HELD', '-y'], conflict, /held by container/],
  ['shortening a range', ['network', 'update', 'blue', '--end', '10.30.0.12'], invalid, /10\.30\.0\.12/],
] // prettier-ignore

describe('a request of dctl that is wrong', () => {
  it('is refused with an exit code of its kind, what was wrong and what to do; nothing changes', async () => {
    const before = await everything()
    const held = (await lab.store.list(Endpoint)).items.find(({ spec }) => spec.holder)!.metadata.name
    const answers = await inParallel(wrong, async ([what, args, exitCode, message]) => {
      const answer = await refused(args.map((argument) => (argument === 'HELD' ? held : argument)))
      return { what, expected: { exitCode, message }, ...answer }
    })
    for (const { what, expected, exitCode, said } of answers) {
      expect({ what, exitCode, said: said.replaceAll('\n', ' ') }).toEqual({
        what,
        exitCode: expected.exitCode,
        said: expect.stringMatching(expected.message),
      })
      expect(said.trim().split('\n').length, `${what}: what to do is a line of its own: ${said}`).toBeGreaterThan(1)
    }
    expect(await everything()).toEqual(before)
    await expectNothingElse(lab, [holder])
  })

  it('has counterparts that are right', async () => {
    await lab.dctl(['network', 'create', 'next', '-s', '10.30.0.0/24', '--start', '10.30.0.30', '--end', '10.30.0.40', '-v', '100']) // prettier-ignore
    await lab.dctl(['network', 'create', 'other', '-s', '10.30.0.0/24', '-g', '10.30.0.1', '-v', '101'])
    await lab.dctl(['endpoint', 'create', 'right', '-n', 'blue', '-i', '10.30.0.13'])
    await lab.dctl(['perf-tier', 'create', 'right', '-b', '1G', '-B', '1G'])
    await lab.dctl(['endpoint', 'delete', 'right', '-y'])
    await lab.dctl(['network', 'delete', 'next', 'other', '-y'])
    await lab.dctl(['perf-tier', 'delete', 'right', '-y'])
  })
})

describe('what a container cannot have', () => {
  it('is a second container on a static endpoint; the refusal names the holder, who keeps it', async () => {
    const first = await Sandbox.attached(lab, 'n1', { endpointId: 'taken' })
    const second = await Sandbox.make(lab, 'n1', { endpointId: 'taken' })
    const error = refusal(await second.add())
    expect(error).toMatchObject({ code: 101, msg: expect.stringMatching(new RegExp(`${first.id}.*n1`)) })
    expect(first.addresses).toEqual(['10.30.0.12'])
    expect(await first.check()).toMatchObject({ ok: true })
    await first.remove()
    expect(await second.add(), 'once released it can be bound again').toMatchObject({ ok: true })
    expect(second.addresses).toEqual(['10.30.0.12'])
    await expectNothingElse(lab, [holder, second])
    await second.remove()
  })

  it('is a floor that does not fit on its node; the numbers are told', async () => {
    await lab.dctl(['perf-tier', 'create', 'huge', '-b', '5G'])
    const sandbox = await Sandbox.make(lab, 'n1', { network: 'blue', perfTier: 'huge' })
    const error = refusal(await sandbox.add())
    expect(error.msg).toMatch(/needs 5 Gbit.*n1 has .* of /)
    expect(error.code).toBe(102)
    await sandbox.remove()
    await expectNothingElse(lab, [holder])
    await lab.dctl(['perf-tier', 'delete', 'huge', '-y'])
  })

  it('is an address when there is none; one event tells about it, and extending the range helps', async () => {
    await lab.dctl(['network', 'create', 'tiny', '-s', '10.50.0.0/29', '--start', '10.50.0.2', '--end', '10.50.0.2', '-v', '105']) // prettier-ignore
    const first = await Sandbox.attached(lab, 'n1', { network: 'tiny' })
    const second = await Sandbox.make(lab, 'n1', { network: 'tiny' })
    expect(refusal(await second.add())).toMatchObject({ code: 102, msg: expect.stringMatching(/tiny.*1/) })
    const dctl = await refused(['endpoint', 'create', 'third', '-n', 'tiny'])
    expect(dctl).toMatchObject({ exitCode: exhausted, said: expect.stringContaining('tiny') })
    await expect
      .poll(() => lab.dctl(['event', 'list']).then(({ stdout }) => stdout), { timeout: 20_000 })
      .toMatch(/tiny/)
    await lab.dctl(['network', 'update', 'tiny', '--end', '10.50.0.3'])
    expect(await second.add()).toMatchObject({ ok: true })
    expect(second.addresses).toEqual(['10.50.0.3'])
    await expectNothingElse(lab, [holder, first, second])
    await Promise.all([first.remove(), second.remove()])
    await lab.dctl(['network', 'delete', 'tiny', '-y'])
  })
})

async function everything(): Promise<unknown> {
  const lists = await Promise.all([lab.store.list(Network), lab.store.list(PerfTier), lab.store.list(Endpoint)])
  return lists.map(({ items }) => items.map(({ metadata, spec }) => ({ name: metadata.name, uid: metadata.uid, spec })))
}

/** Six at a time: each is a process. */
async function inParallel<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: 6 }, worker))
  return results
}
