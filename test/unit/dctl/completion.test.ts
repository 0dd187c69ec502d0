import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attachmentFinalizer, Endpoint } from '../../../src/api/index.ts'
import { exec } from '../../../src/base/index.ts'
import { completionLines } from '../../../src/cli/completion-verbs.ts'
import { buildProgram } from '../../../src/cli/program.ts'
import { VerbSession } from '../../../src/cli/session.ts'
import { processWorld, type World } from '../../../src/cli/world.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster
const root = join(import.meta.dirname, '../../..')

beforeAll(async () => {
  cluster = await Cluster.start()
  await cluster.addNode('n1')
  await cluster.done('network create blue -s 10.30.0.0/24 -v 100')
  await cluster.done('network create black -s 10.31.0.0/24')
  await cluster.done('endpoint create fixed -n blue --ns shop')
  await cluster.control.store.create(Endpoint, {
    metadata: { name: 'web-eth0', namespace: 'default', finalizers: [attachmentFinalizer] },
    spec: {
      networkName: 'blue',
      isStatic: false,
      nodeName: 'n1',
      holder: { containerId: 'c1', interfaceName: 'eth0', pod: { namespace: 'default', name: 'web' } },
    },
  })
  const wrapper = join(cluster.files.folder, 'dctl')
  const program = `exec env DCTL_CONFIG='${cluster.configFile}' '${process.execPath}' '${root}/src/cli/main.ts' "$@"`
  writeFileSync(wrapper, `#!/bin/sh\n${program}\n`)
  chmodSync(wrapper, 0o755)
})
afterAll(() => cluster[Symbol.asyncDispose]())

/** Candidates for a command line whose last word is being typed. */
async function candidates(...words: string[]): Promise<string[]> {
  const environment = { HOME: cluster.files.folder, DCTL_CONFIG: cluster.configFile }
  const usual = processWorld()
  // control is in this process here: what is asked for must not be given up when that is busy
  const connect: World['connect'] = (to) => usual.connect({ ...to, timeout: 60_000 })
  const world = { ...usual, environment, connect }
  const lines = await completionLines(buildProgram(new VerbSession(world), world), words, world)
  return lines.map((line) => line.split('\t')[0]!)
}

describe('candidates', () => {
  const cases: [string[], string[]][] = [
    [['netw'], ['network']],
    [['net', 'tr'], ['trace']],
    [
      ['network', 'get', 'bl'],
      ['blue', 'black'],
    ],
    [
      ['network', 'get', 'blue', ''],
      ['blue', 'black'],
    ],
    [['network', 'create', 'bl'], []],
    [
      ['endpoint', 'describe', ''],
      ['web', 'web-eth0'],
    ],
    [['endpoint', 'get', ''], ['web-eth0']],
    [['endpoint', 'get', '--ns', 'shop', ''], ['fixed']],
    [
      ['endpoint', 'list', '--ns', ''],
      ['default', 'shop'],
    ],
    [
      ['network', 'trace', 'web', 'w'],
      ['web', 'web-eth0'],
    ],
    [['endpoint', 'list', '-n', 'bla'], ['black']],
    [['endpoint', 'create', 'x', '--network', '=', 'blu'], ['blue']],
    [['node', 'check', ''], ['n1']],
    [['endpoint', 'list', '--node', 'n'], ['n1']],
    [['perf-tier', 'delete', 'h'], ['high']],
    [['network', 'list', '-o', 'y'], ['yaml']],
    [
      ['network', 'list', '--output', '='],
      ['simple', 'wide', 'json', 'yaml'],
    ],
    [['network', 'list', '--output=js'], ['--output=json']],
    [['network', 'list', '--ty'], ['--type']],
    [['network', 'list', '--', '--ty'], []],
    [['-o', 'json', 'network', 'delete', 'blu'], ['blue']],
    [['login', '--token-file', 'x'], [':files']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['nonsense', ''], []],
    [['network', 'list', 'x', ''], []],
  ]
  it.each(cases)('for %j are %j', async (words, expected) => {
    expect((await candidates(...words)).sort()).toEqual(expected.sort())
  })

  it('are none, and no error, where no cluster answers', async () => {
    expect(await candidates('-s', '127.0.0.1:1', 'network', 'get', '')).toEqual([])
    expect(await candidates('--dctlconfig', '/nowhere', 'network', 'get', '')).toEqual([])
    expect(await candidates('--ca-cert', '/nowhere', 'network', 'get', '')).toEqual([])
  })

  it('never fail, whatever is typed', async () => {
    const word = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom('network', 'get', '-o', '--', '=', '--ns', '-', '--=', 'help', '__complete', '--output=', '\0'),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (words) => {
        // names of objects would be asked for over and over: the server is one that does not answer
        expect(Array.isArray(await candidates('-s', '127.0.0.1:1', ...words))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

describe('the script', () => {
  /** What a shell proposes, one word a line, sorted. */
  async function proposed(command: [string, ...string[]]): Promise<string[]> {
    const PATH = `${cluster.files.folder}:${process.env.PATH}`
    const { stdout } = await exec(command, {
      env: { ...process.env, PATH },
      cwd: cluster.files.folder,
      deadline: 20_000,
    })
    return stdout.split('\n').filter(Boolean).sort()
  }

  const inBash = (...words: string[]): Promise<string[]> =>
    proposed([
      'bash', '--norc', '-c',
      'source <(dctl completion bash) && COMP_WORDS=(dctl "$@") COMP_CWORD=$# && _dctl && printf "%s\\n" "${COMPREPLY[@]}"',
      'bash', ...words,
    ]) // prettier-ignore

  it('works in bash: commands, names of objects, files, and nothing is executed', async () => {
    await expect.poll(() => inBash('network', 'get', 'bl'), { timeout: 60_000 }).toEqual(['black', 'blue'])
    expect(await inBash('tok')).toEqual(['token'])
    expect(await inBash('login', '--token-file', 'dct')).toEqual(['dctl', 'dctl.json'])
    expect(await inBash('network', 'get', '$(touch evil)`touch evil`')).toEqual([])
    expect(await inBash('login', '--token-file', 'evi')).toEqual([])
  }, 180_000)

  const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0

  it.runIf(has('zsh'))(
    'is read by zsh',
    async () => {
      const script = 'autoload -U compinit && compinit -D -u && source <(dctl completion zsh) && print -l $_comps[dctl]'
      expect(await proposed(['zsh', '-f', '-c', script])).toEqual(['_dctl'])
    },
    60_000,
  )

  it.runIf(has('fish'))(
    'works in fish',
    async () => {
      const script = 'dctl completion fish | source; complete -C "dctl network get bl"'
      expect((await proposed(['fish', '--no-config', '-c', script])).map((line) => line.split('\t')[0])).toEqual([
        'black',
        'blue',
      ])
    },
    60_000,
  )
})
