import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PerfTier } from '../api/index.ts'
import { Conflict } from '../base/index.ts'
import { EmbeddedStore } from '../store/index.ts'
import { changeCurrent } from './retry.ts'

let folder: string
let store: EmbeddedStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-verb-'))
  store = new EmbeddedStore({ file: join(folder, 'store.db') })
  await store.create(PerfTier, { metadata: { name: 'gold' }, spec: { networkBandwidth: 1 } })
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const label = (key: string, resourceVersion?: string): Promise<PerfTier> =>
  store.patch(PerfTier, { name: 'gold' }, { metadata: { labels: { [key]: 'x' } } }, { resourceVersion })

describe('changing what others change too', () => {
  it('starts again with what is there now', async () => {
    const seen: string[] = []
    const changed = await changeCurrent(store, PerfTier, { name: 'gold' }, async ({ metadata }) => {
      seen.push(Object.keys(metadata.labels ?? {}).join())
      if (seen.length < 3) await label(`other${seen.length}`)
      return label('mine', metadata.resourceVersion)
    })
    expect(seen).toEqual(['', 'other1', 'other1,other2'])
    expect(changed.metadata.labels).toEqual({ other1: 'x', other2: 'x', mine: 'x' })
  })

  it('throws a conflict that is not about the version, after one attempt', async () => {
    let attempts = 0
    const refuse = async (): Promise<never> => {
      attempts++
      throw new Conflict('in use')
    }
    await expect(changeCurrent(store, PerfTier, { name: 'gold' }, refuse)).rejects.toThrow('in use')
    expect(attempts).toBe(1)
  })

  it('gives up when somebody else is always faster', async () => {
    let attempts = 0
    const slow = async ({ metadata }: PerfTier): Promise<PerfTier> => {
      await label(`other${attempts++}`)
      return label('mine', metadata.resourceVersion)
    }
    await expect(changeCurrent(store, PerfTier, { name: 'gold' }, slow)).rejects.toThrow(Conflict)
    expect(attempts).toBe(10)
  })
})
