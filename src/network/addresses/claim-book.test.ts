import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { AddressClaim, Network } from '../../api/index.ts'
import { EmbeddedStore } from '../../store/index.ts'
import { ClaimBook, type ClaimOwner } from './claim-book.ts'

class Fixture implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-claim-book-'))
  readonly store = new EmbeddedStore({ file: join(this.#folder, 'store.db') })

  async network(end: string): Promise<Network> {
    return this.store.create(Network, {
      metadata: { name: 'blue' },
      spec: {
        subnets: [{ cidr: '10.30.0.0/16', ranges: [{ start: '10.30.0.1', end }] }],
        vlan: 100,
        plane: 'pods',
        isDefault: false,
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close()
    rmSync(this.#folder, { recursive: true })
  }
}

const owner = (name: string): ClaimOwner => ({ namespace: 'default', name, uid: `uid-${name}` })

it('lets claimants with lists of their own, that know nothing of each other, never take one address twice', async () => {
  await using fixture = new Fixture()
  const network = await fixture.network('10.30.1.244') // 500 addresses
  const claimed: string[] = []
  let refused = 0
  const claimant = async (book: ClaimBook, name: string): Promise<void> => {
    for (let index = 0; index < 20; index += 1) {
      const result = await book.claimAddress(network, 4, owner(`${name}-${index}`))
      if ('claimed' in result) claimed.push(result.claimed.spec.address)
      else refused += 1
    }
  }
  const books = Array.from({ length: 4 }, () => new ClaimBook(fixture.store))
  await Promise.all(Array.from({ length: 32 }, (_, index) => claimant(books[index % 4]!, `c${index}`)))
  expect(new Set(claimed).size).toBe(500)
  expect(claimed).toHaveLength(500)
  expect(refused).toBe(140)
})

it('is not confused by what the informer says late about a claim that came and went', async () => {
  await using fixture = new Fixture()
  const network = await fixture.network('10.30.0.1')
  const book = new ClaimBook(fixture.store)
  const claim = async (name: string): Promise<AddressClaim> => {
    const result = await book.claimAddress(network, 4, owner(name))
    if ('refused' in result) throw result.refused
    return result.claimed
  }
  const first = await claim('a')
  await book.release([first], [])
  const second = await claim('b')
  expect(second.metadata.name).toBe(first.metadata.name)
  book.putAddress(first)
  book.dropAddress(first)
  book.putAddress(second)
  expect(book.addresses.of('uid-b')).toHaveLength(1)
  expect(book.addresses.of('uid-a')).toHaveLength(0)
  expect(await book.claimAddress(network, 4, owner('c'))).toMatchObject({ refused: { code: 'Exhausted' } })
  book.dropAddress(second)
  book.putAddress(second)
  expect(book.usage('blue')).toEqual({ total: 1, used: 0 })
})

it('forgets a proposal that the store did not answer, and finds its own claim when it was made all the same', async () => {
  await using fixture = new Fixture()
  const network = await fixture.network('10.30.0.1')
  let isLost = true
  const losing = new Proxy(fixture.store, {
    get(store, name) {
      if (name !== 'create') return (store[name as keyof EmbeddedStore] as () => void).bind?.(store)
      return async (...args: Parameters<EmbeddedStore['create']>) => {
        const made = await store.create(...args)
        if (isLost) throw new Error('the answer was lost')
        return made
      }
    },
  })
  const book = new ClaimBook(losing)
  await expect(book.claimAddress(network, 4, owner('a'))).rejects.toThrow('the answer was lost')
  expect(book.usage('blue')).toEqual({ total: 1, used: 0 })
  isLost = false
  expect(await book.claimAddress(network, 4, owner('a'))).toMatchObject({
    claimed: { spec: { address: '10.30.0.1', endpoint: owner('a') } },
  })
})

it('takes MACs that are asked for once, and invents others that no domain has', async () => {
  await using fixture = new Fixture()
  const book = new ClaimBook(fixture.store)
  const macAddress = '02:00:00:00:00:01'
  expect(await book.claimMac('pods-100', owner('a'), macAddress)).toMatchObject({ claimed: { spec: { macAddress } } })
  expect(await book.claimMac('pods-100', owner('a'), macAddress)).toMatchObject({ claimed: { spec: { macAddress } } })
  expect(await book.claimMac('pods-100', owner('b'), macAddress)).toMatchObject({
    refused: { code: 'Conflict', message: `MAC ${macAddress} is taken in L2 domain pods-100 by endpoint default/a` },
  })
  expect(await book.claimMac('pods-200', owner('b'), macAddress)).toMatchObject({ claimed: {} })
  expect(await book.claimMac('pods-100', owner('c'))).toMatchObject({ claimed: {} })
})

it('goes on behind the newest claim when it is built from claims', async () => {
  await using fixture = new Fixture()
  const network = await fixture.network('10.30.0.9')
  const first = new ClaimBook(fixture.store)
  for (const name of ['a', 'b', 'c']) await first.claimAddress(network, 4, owner(name))
  await first.release(first.addresses.of('uid-a'), [])
  const rebuilt = new ClaimBook(fixture.store)
  for (const claim of (await fixture.store.list(AddressClaim)).items) rebuilt.putAddress(claim)
  rebuilt.putNetwork(network)
  expect(rebuilt.usage('blue')).toEqual({ total: 9, used: 2 })
  expect(await rebuilt.claimAddress(network, 4, owner('d'))).toMatchObject({
    claimed: { spec: { address: '10.30.0.4' } },
  })
})
