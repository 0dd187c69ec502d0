import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Endpoint, PerfTier, type KubeObject } from '../../src/api/index.ts'
import { createInformer, type ResourceStore, type WatchEvent } from '../../src/store/index.ts'

/** A store under test, and a namespace in it that exists. */
export interface StoreUnderTest {
  store: ResourceStore
  namespace: string
  close(): Promise<void>
}

/**
 * What every ResourceStore keeps. Nothing is taken for granted beyond the conventions of the Kubernetes API, so that it
 * holds for kube-apiserver with our CRDs: the store may hold other objects, versions are opaque, no controller runs.
 */
export function storeContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store contract: ${name}`, () => {
    const run = randomUUID().slice(0, 8)
    let subject: StoreUnderTest
    let counter = 0

    beforeAll(async () => {
      subject = await open()
    })
    afterAll(async () => {
      await subject.close()
    })

    const uniqueName = (): string => `contract-${run}-${(counter += 1)}`
    const tier = (name = uniqueName(), labels: Record<string, string> = {}): PerfTier => ({
      metadata: { name, labels: { ...labels, run } },
      spec: { networkBandwidth: '100M' },
    })
    const endpoint = (name = uniqueName(), spec: Partial<Endpoint['spec']> = {}): Endpoint => ({
      metadata: { name, namespace: subject.namespace, labels: { run } },
      spec: { networkName: 'blue', isStatic: true, ...spec },
    })
    const code = (error: unknown): unknown => (error as { code?: string }).code
    const failure = async (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'succeeded', code)

    describe('create and get', () => {
      test('fills in what the server owns', async () => {
        const made = await subject.store.create(PerfTier, tier())
        expect(made.metadata.uid).toMatch(/^[-0-9a-f]{36}$/)
        expect(made.metadata.resourceVersion).toBeTruthy()
        expect(made.metadata.generation).toBe(1)
        expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
        expect(made).toMatchObject({ apiVersion: 'carbonado.io/v1alpha1', kind: 'PerfTier' })
        expect(await subject.store.get(PerfTier, { name: made.metadata.name })).toEqual(made)
      })

      test('refuses a name that is taken, and what does not fit the schema', async () => {
        const made = await subject.store.create(PerfTier, tier())
        expect(await failure(subject.store.create(PerfTier, tier(made.metadata.name)))).toBe('Conflict')
        const wrong = { ...tier(), spec: { networkBandwidth: 'fast' } }
        expect(await failure(subject.store.create(PerfTier, wrong))).toBe('InvalidInput')
        expect(await failure(subject.store.create(PerfTier, tier('Not_A_Name')))).toBe('InvalidInput')
      })

      test('one of many simultaneous creates wins', async () => {
        const name = uniqueName()
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, () => failure(subject.store.create(PerfTier, tier(name)))),
        )
        expect(outcomes.filter((outcome) => outcome === 'succeeded')).toHaveLength(1)
        expect(outcomes.filter((outcome) => outcome === 'Conflict')).toHaveLength(19)
      })

      test('knows what does not exist', async () => {
        const missing = { name: uniqueName() }
        expect(await failure(subject.store.get(PerfTier, missing))).toBe('NotFound')
        expect(await failure(subject.store.patch(PerfTier, missing, { metadata: {} }))).toBe('NotFound')
        expect(await failure(subject.store.delete(PerfTier, missing))).toBe('NotFound')
      })

      test('gives copies: what a caller does to an object does not reach the store', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const read = await subject.store.get(PerfTier, made.metadata)
        read.spec.networkBandwidth = '1M'
        expect((await subject.store.get(PerfTier, made.metadata)).spec.networkBandwidth).toBe('100M')
      })
    })

    describe('update and patch', () => {
      test('update replaces the spec and moves version and generation on', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const changed = await subject.store.update(PerfTier, { ...made, spec: { storageIops: '5k' } })
        expect(changed.spec).toEqual({ storageIops: '5k' })
        expect(changed.metadata.generation).toBe(2)
        expect(changed.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion)
        expect(changed.metadata.uid).toBe(made.metadata.uid)
      })

      test('a stale version is a Conflict', async () => {
        const made = await subject.store.create(PerfTier, tier())
        await subject.store.update(PerfTier, { ...made, spec: { storageIops: 1 } })
        expect(await failure(subject.store.update(PerfTier, { ...made, spec: { storageIops: 2 } }))).toBe('Conflict')
        const stale = { resourceVersion: made.metadata.resourceVersion }
        const patch = subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 3 } }, stale)
        expect(await failure(patch)).toBe('Conflict')
      })

      test('another uid is a Conflict', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const other = { ...made, metadata: { ...made.metadata, uid: randomUUID() }, spec: { storageIops: 1 } }
        expect(await failure(subject.store.update(PerfTier, other))).toBe('Conflict')
      })

      test('no increment is lost when many read, change and write', async () => {
        const made = await subject.store.create(PerfTier, { ...tier(), spec: { storageIops: 0 } })
        const increment = async (): Promise<void> => {
          for (;;) {
            const read = await subject.store.get(PerfTier, made.metadata)
            const next = { ...read, spec: { storageIops: Number(read.spec.storageIops) + 1 } }
            const outcome = await failure(subject.store.update(PerfTier, next))
            if (outcome === 'succeeded') return
            expect(outcome).toBe('Conflict')
          }
        }
        await Promise.all(Array.from({ length: 10 }, increment))
        expect((await subject.store.get(PerfTier, made.metadata)).spec.storageIops).toBe(10)
      })

      test('labels change the version but not the generation', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const patched = await subject.store.patch(PerfTier, made.metadata, { metadata: { labels: { color: 'red' } } })
        expect(patched.metadata.labels).toEqual({ run, color: 'red' })
        expect(patched.metadata.generation).toBe(1)
        expect(patched.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion)
      })

      test('a merge patch sets, nests and removes', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const spec = { networkBandwidth: null, storageIops: 7 }
        const patched = await subject.store.patch(PerfTier, made.metadata, { spec })
        expect(patched.spec).toEqual({ storageIops: 7 })
      })

      test('a write that changes nothing leaves the version', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const patched = await subject.store.patch(PerfTier, made.metadata, { spec: { networkBandwidth: '100M' } })
        expect(patched.metadata.resourceVersion).toBe(made.metadata.resourceVersion)
      })

      test('a patch is checked like a whole object', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const patch = subject.store.patch(PerfTier, made.metadata, { spec: { networkBandwidth: -1 } })
        expect(await failure(patch)).toBe('InvalidInput')
      })
    })

    describe('status', () => {
      const refused = { state: 'Refused', generation: 1, code: 'Exhausted', message: 'full' } as const

      test('is written on its own and nothing else with it', async () => {
        const made = await subject.store.create(Endpoint, { ...endpoint(), status: { allocation: refused } })
        expect(made.status?.allocation).toBeUndefined()
        const written = await subject.store.updateStatus(Endpoint, {
          ...made,
          spec: { ...made.spec, networkName: 'green' },
          status: { allocation: refused },
        })
        expect(written.status?.allocation).toEqual(refused)
        expect(written.spec.networkName).toBe('blue')
        expect(written.metadata.generation).toBe(1)
      })

      test('is not touched by ordinary writes', async () => {
        const made = await subject.store.create(Endpoint, endpoint())
        const written = await subject.store.patch(
          Endpoint,
          made.metadata,
          { status: { allocation: refused } },
          { subresource: 'status' },
        )
        const { status: _, ...withoutStatus } = written
        const updated = await subject.store.update(Endpoint, {
          ...withoutStatus,
          spec: { ...made.spec, nodeName: 'n1' },
        })
        expect(updated.status?.allocation).toEqual(refused)
        const patched = await subject.store.patch(Endpoint, made.metadata, { status: null, spec: { nodeName: 'n2' } })
        expect(patched.status?.allocation).toEqual(refused)
        expect(patched.spec.nodeName).toBe('n2')
      })

      test('has the same precondition', async () => {
        const made = await subject.store.create(Endpoint, endpoint())
        await subject.store.patch(Endpoint, made.metadata, { spec: { nodeName: 'n1' } })
        const stale = subject.store.updateStatus(Endpoint, { ...made, status: { allocation: refused } })
        expect(await failure(stale)).toBe('Conflict')
      })
    })

    describe('delete', () => {
      test('removes at once when there is no finalizer; the name is free again with another uid', async () => {
        const made = await subject.store.create(PerfTier, tier())
        await subject.store.delete(PerfTier, made.metadata)
        expect(await failure(subject.store.get(PerfTier, made.metadata))).toBe('NotFound')
        const again = await subject.store.create(PerfTier, tier(made.metadata.name))
        expect(again.metadata.uid).not.toBe(made.metadata.uid)
      })

      test('waits for finalizers, takes no new ones, and removes with the last', async () => {
        const draft = endpoint()
        draft.metadata.finalizers = ['carbonado.io/one', 'carbonado.io/two']
        const made = await subject.store.create(Endpoint, draft)
        await subject.store.delete(Endpoint, made.metadata)
        const waiting = await subject.store.get(Endpoint, made.metadata)
        expect(waiting.metadata.deletionTimestamp).toBeTruthy()
        const finalizers = (...list: string[]): object => ({ metadata: { finalizers: list } })
        const more = finalizers('carbonado.io/one', 'carbonado.io/two', 'carbonado.io/three')
        expect(await failure(subject.store.patch(Endpoint, made.metadata, more))).toBe('InvalidInput')
        await subject.store.patch(Endpoint, made.metadata, finalizers('carbonado.io/two'))
        expect((await subject.store.get(Endpoint, made.metadata)).metadata.uid).toBe(made.metadata.uid)
        await subject.store.patch(Endpoint, made.metadata, finalizers())
        expect(await failure(subject.store.get(Endpoint, made.metadata))).toBe('NotFound')
      })

      test('keeps to its preconditions', async () => {
        const made = await subject.store.create(PerfTier, tier())
        const changed = await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 1 } })
        const remove = (options: { uid?: string; resourceVersion?: string }): Promise<unknown> =>
          failure(subject.store.delete(PerfTier, { name: made.metadata.name }, options))
        expect(await remove({ uid: randomUUID() })).toBe('Conflict')
        expect(await remove({ resourceVersion: made.metadata.resourceVersion })).toBe('Conflict')
        const { uid, resourceVersion } = changed.metadata
        expect(await remove({ uid, resourceVersion })).toBe('succeeded')
      })
    })

    describe('list', () => {
      test('selects by labels', async () => {
        const group = uniqueName()
        const [a, b, c] = await Promise.all(
          [{ group, color: 'red' }, { group, color: 'blue' }, { group }].map(async (labels) => {
            return (await subject.store.create(PerfTier, tier(uniqueName(), labels as Record<string, string>))).metadata
              .name
          }),
        )
        const select = async (rest: string): Promise<string[]> => {
          const { items } = await subject.store.list(PerfTier, { labelSelector: `group=${group}${rest}` })
          return items.map((item) => item.metadata.name).sort()
        }
        expect(await select('')).toEqual([a, b, c].sort())
        expect(await select(',color=red')).toEqual([a])
        expect(await select(',color!=red')).toEqual([b, c].sort())
        expect(await select(',color in (red, blue)')).toEqual([a, b].sort())
        expect(await select(',color notin (red)')).toEqual([b, c].sort())
        expect(await select(',color')).toEqual([a, b].sort())
        expect(await select(',!color')).toEqual([c])
      })

      test('selects by name, namespace and the fields of the kind, and by no others', async () => {
        const nodeName = uniqueName()
        const made = await subject.store.create(Endpoint, endpoint(uniqueName(), { nodeName }))
        await subject.store.create(Endpoint, endpoint())
        const select = async (fieldSelector: string): Promise<string[]> =>
          (await subject.store.list(Endpoint, { fieldSelector })).items.map((item) => item.metadata.name)
        expect(await select(`spec.nodeName=${nodeName}`)).toEqual([made.metadata.name])
        expect(await select(`metadata.name=${made.metadata.name}`)).toEqual([made.metadata.name])
        expect(await select(`spec.nodeName=${nodeName},metadata.namespace!=${subject.namespace}`)).toEqual([])
        expect(await failure(select('spec.isStatic=true'))).toBe('InvalidInput')
      })

      test('refuses selectors that are not well formed', async () => {
        expect(await failure(subject.store.list(PerfTier, { labelSelector: 'a=(b' }))).toBe('InvalidInput')
        expect(await failure(subject.store.list(PerfTier, { labelSelector: 'a in b' }))).toBe('InvalidInput')
      })

      test('keeps namespaces apart', async () => {
        const made = await subject.store.create(Endpoint, endpoint())
        const { items } = await subject.store.list(Endpoint, { namespace: 'no-such-namespace' })
        expect(items).toEqual([])
        const own = await subject.store.list(Endpoint, { namespace: subject.namespace })
        expect(own.items.map((item) => item.metadata.name)).toContain(made.metadata.name)
      })

      test('comes in pages that together are the list as it was at the first', async () => {
        const group = uniqueName()
        const names = Array.from({ length: 7 }, () => uniqueName())
        for (const name of names) await subject.store.create(PerfTier, tier(name, { group }))
        const seen: string[] = []
        const labelSelector = `group=${group}`
        let page = await subject.store.list(PerfTier, { labelSelector, limit: 3 })
        const { resourceVersion } = page
        await subject.store.delete(PerfTier, { name: names.at(-1)! })
        for (;;) {
          expect(page.resourceVersion).toBe(resourceVersion)
          seen.push(...page.items.map((item) => item.metadata.name))
          if (!page.continue) break
          page = await subject.store.list(PerfTier, { labelSelector, limit: 3, continue: page.continue })
        }
        expect(seen.sort()).toEqual(names.sort())
      })
    })

    describe('watch', () => {
      test('tells every later change in order, from a list on', async () => {
        const group = uniqueName()
        const labelSelector = `group=${group}`
        const before = await subject.store.create(PerfTier, tier(uniqueName(), { group }))
        const { resourceVersion } = await subject.store.list(PerfTier, { labelSelector })
        using watch = follow(subject.store.watch.bind(subject.store), { labelSelector, resourceVersion })
        const made = await subject.store.create(PerfTier, tier(uniqueName(), { group }))
        await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 1 } })
        await subject.store.delete(PerfTier, made.metadata)
        await subject.store.delete(PerfTier, before.metadata)
        const [name, old] = [made.metadata.name, before.metadata.name]
        expect(await watch.next(4)).toEqual([`ADDED ${name}`, `MODIFIED ${name}`, `DELETED ${name}`, `DELETED ${old}`])
      })

      test('without a version starts with what there is', async () => {
        const group = uniqueName()
        const made = await subject.store.create(PerfTier, tier(uniqueName(), { group }))
        using watch = follow(subject.store.watch.bind(subject.store), { labelSelector: `group=${group}` })
        expect(await watch.next(1)).toEqual([`ADDED ${made.metadata.name}`])
        await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 1 } })
        expect(await watch.next(1)).toEqual([`MODIFIED ${made.metadata.name}`])
      })

      test('goes on from the version of any event', async () => {
        const group = uniqueName()
        const labelSelector = `group=${group}`
        const made = await subject.store.create(PerfTier, tier(uniqueName(), { group }))
        const second = await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 1 } })
        await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 2 } })
        await subject.store.delete(PerfTier, made.metadata)
        const { resourceVersion } = second.metadata
        using watch = follow(subject.store.watch.bind(subject.store), { labelSelector, resourceVersion })
        expect(await watch.next(2)).toEqual([`MODIFIED ${made.metadata.name}`, `DELETED ${made.metadata.name}`])
      })

      test.each(['live', 'resumed'])('tells what comes into and leaves the selection (%s)', async (mode) => {
        const nodeName = uniqueName()
        const fieldSelector = `spec.nodeName=${nodeName}`
        const { resourceVersion } = await subject.store.list(Endpoint, { fieldSelector })
        const start = () =>
          follow((_kind: unknown, options: object) => subject.store.watch(Endpoint, options), {
            fieldSelector,
            resourceVersion,
          })
        const early = mode === 'live' ? start() : undefined
        const made = await subject.store.create(Endpoint, endpoint())
        await subject.store.patch(Endpoint, made.metadata, { spec: { nodeName } })
        await subject.store.patch(Endpoint, made.metadata, { spec: { isStatic: false } })
        await subject.store.patch(Endpoint, made.metadata, { spec: { nodeName: 'elsewhere' } })
        await subject.store.delete(Endpoint, made.metadata)
        using watch = early ?? start()
        const { name } = made.metadata
        expect(await watch.next(3)).toEqual([`ADDED ${name}`, `MODIFIED ${name}`, `DELETED ${name}`])
        const last = await subject.store.create(Endpoint, endpoint(uniqueName(), { nodeName }))
        expect(await watch.next(1)).toEqual([`ADDED ${last.metadata.name}`])
      })

      test('ends silently when its signal says so', async () => {
        const stop = new AbortController()
        const ended = (async () => {
          for await (const _event of subject.store.watch(PerfTier, { signal: stop.signal }));
        })()
        setTimeout(() => stop.abort(), 50)
        await ended
      })

      test('refuses a version from nowhere', async () => {
        const attempt = (async () => {
          for await (const _event of subject.store.watch(PerfTier, { resourceVersion: 'no-version' }));
        })()
        expect(await failure(attempt)).toBe('InvalidInput')
      })
    })

    test('an informer holds what the store holds', async () => {
      const group = uniqueName()
      const selection = { labelSelector: `group=${group}` }
      await subject.store.create(PerfTier, tier(uniqueName(), { group }))
      const informer = createInformer(subject.store, PerfTier, { selection })
      const changes: string[] = []
      informer.onChange(({ type, previous }) => changes.push(previous ? `${type} after` : type))
      await informer.start()
      expect(informer.items()).toHaveLength(1)
      const made = await subject.store.create(PerfTier, tier(uniqueName(), { group }))
      await expect.poll(() => informer.get(made.metadata)).toBeDefined()
      const patched = await subject.store.patch(PerfTier, made.metadata, { spec: { storageIops: 9 } })
      await expect.poll(() => informer.get(made.metadata)).toEqual(withoutManagedFields(patched))
      await subject.store.patch(PerfTier, made.metadata, { metadata: { labels: { group: 'other' } } })
      await expect.poll(() => informer.items()).toHaveLength(1)
      await informer.stop()
      expect(changes).toEqual(['ADDED', 'ADDED', 'MODIFIED after', 'DELETED after'])
    })
  })
}

/** An informer does not keep them. */
function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _managed, ...metadata } = object.metadata as T['metadata'] & { managedFields?: unknown }
  return { ...object, metadata }
}

type WatchFunction = (kind: typeof PerfTier, options: object) => AsyncIterable<WatchEvent<KubeObject>>

/** Follows a watch from now on; `next` waits for that many changes and names them. */
function follow(
  watch: WatchFunction,
  options: object,
): { next(count: number): Promise<string[]>; [Symbol.dispose](): void } {
  const stop = new AbortController()
  const events = watch(PerfTier, { ...options, signal: stop.signal })[Symbol.asyncIterator]()
  // asked for at once, so that the watch is open before the caller makes changes
  let pending = events.next()
  pending.catch(() => {})
  return {
    next: async (count) => {
      const seen: string[] = []
      while (seen.length < count) {
        const { value, done } = await pending
        if (done) break
        pending = events.next()
        pending.catch(() => {})
        if (value.type !== 'BOOKMARK') seen.push(`${value.type} ${value.object.metadata.name}`)
      }
      return seen
    },
    [Symbol.dispose]: () => stop.abort(),
  }
}
