import { Command } from 'commander'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Volume } from '../../api/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import type { VerbContext, VerbHost } from '../../verb/index.ts'
import { slowDelete, StorageFixture } from '../storage-fixture.ts'
import { addVolumeVerbs } from './volume-verbs.ts'

let fixture: StorageFixture
beforeEach(async () => {
  fixture = await StorageFixture.start('n1')
})
afterEach(() => fixture[Symbol.asyncDispose]())

/** Runs a verb over a store; resolves to what it printed. */
async function dctl(store: ResourceStore, ...line: string[]): Promise<string> {
  const printed: string[] = []
  const context: Partial<VerbContext> = {
    output: 'simple',
    store: () => Promise.resolve(store),
    print: (text) => printed.push(text),
    note: () => {},
  }
  const host: VerbHost = {
    run: (handler) => async (name, flags, command) => {
      await handler(context as VerbContext, [name as string], flags as never, command as Command)
    },
  }
  const program = new Command()
  addVolumeVerbs(program, host)
  await program.parseAsync(line, { from: 'user' })
  return printed.join('\n')
}

it('leaves nothing of a volume that fits nowhere', async () => {
  await expect(dctl(fixture.store, 'volume', 'create', 'v1', '-s', '1Gi')).rejects.toMatchObject({ code: 'Exhausted' })
  await expect.poll(async () => (await fixture.store.list(Volume)).items).toEqual([])
})

it('does not take back a volume that has room meanwhile', async () => {
  await fixture.availableVolume('other', { size: '40Mi' })
  const slow = slowDelete(fixture.store)
  const creating = dctl(slow.store, 'volume', 'create', 'v1', '-s', '50Mi')
  await slow.begun
  await fixture.deleted(Volume, 'other')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
  slow.release()
  expect(await creating).toContain('volume v1 created: 50 MiB on node n1')
  expect((await fixture.store.get(Volume, { name: 'v1' })).metadata.deletionTimestamp).toBeUndefined()
})
