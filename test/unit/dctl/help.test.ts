import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterAll, describe, expect, it } from 'vitest'
import { buildProgram, runDctl } from '../../../src/cli/program.ts'
import { VerbSession } from '../../../src/cli/session.ts'
import { processWorld, type World } from '../../../src/cli/world.ts'

// a configuration without a server, so that a lab that runs on this machine is not found
const folder = mkdtempSync(join(tmpdir(), 'carbonado-dctl-'))
const config = join(folder, 'dctl.json')
writeFileSync(config, '{}')
afterAll(() => rmSync(folder, { recursive: true }))

function silentWorld(): World & { output: string; errors: string } {
  const world = {
    ...processWorld(),
    environment: { DCTL_CONFIG: config },
    output: '',
    errors: '',
    write: (text: string) => void (world.output += text),
    writeError: (text: string) => void (world.errors += text),
  }
  return world
}

function leaves(command: Command, path: string[] = []): { path: string[]; command: Command }[] {
  const visible = command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help')
  if (visible.length === 0) return [{ path, command }]
  return visible.flatMap((child) => leaves(child, [...path, child.name()]))
}

const world = silentWorld()
const program = buildProgram(new VerbSession(world), world)
const verbs = leaves(program).filter(({ path }) => path[0] !== 'lab')

describe('help', () => {
  it('is as it was reviewed', async () => {
    let text = ''
    for (const args of [[], ...verbs.map(({ path }) => path)]) {
      const own = silentWorld()
      expect(await runDctl([...args, '--help'], own)).toBe(0)
      text += `$ dctl ${[...args, '--help'].join(' ')}\n${own.output}\n`
    }
    await expect(text).toMatchFileSnapshot('help.golden.txt')
  })

  it.each(verbs.map(({ path }) => path.join(' ')))('of %s has an example', async (line) => {
    const own = silentWorld()
    await runDctl([...line.split(' '), '--help'], own)
    expect(own.output).toMatch(/Examples?:\n {2}\$ dctl /)
    expect(own.output).toContain(`$ dctl ${line}`)
  })
})

describe('command lines that are wrong', () => {
  it.each([
    ['netwrk list', 'Did you mean network?'],
    ['network crate blue', 'Did you mean create?'],
    ['network list --tpye storage', 'Did you mean --type?'],
    ['network get', "missing required argument 'name'"],
    ['network list -o xml', 'Allowed choices are simple, wide, json, yaml'],
    ['network list --timeout never', '--timeout "never"'],
    ['network list', 'no server is known'],
    ['volume-group list -o json', 'comes with volume groups'],
    ['perf-tier create a b', 'too many arguments'],
    ['cluster create c1 n1,n2 --vip 10.0.0.1 --svlan 5', 'dctl cluster create is not in this version'],
    ['network overlay create x --subnet 10.0.0.0/16', 'comes with overlay networks'],
    ['node inventory', 'dctl node inventory is not in this version'],
    ['cluster frobnicate', 'unknown command'],
  ])('%s', async (line, expected) => {
    const own = silentWorld()
    expect(await runDctl(line.split(' '), own)).toBe(2)
    expect(own.output).toBe('')
    expect(own.errors).toMatch(/^dctl: /)
    expect(own.errors).toContain(expected)
  })

  it('shows the help of a command without a verb', async () => {
    const own = silentWorld()
    expect(await runDctl(['network'], own)).toBe(2)
    expect(own.errors).toContain('Usage: dctl network')
  })
})
