import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { ContainerEnd } from './container-side.ts'
import { SpareInterfaces, type ContainerInterface, type MadeInterface } from './spare-interfaces.ts'

const container = { containerId: 'c1', interfaceName: 'eth0', netns: '/run/netns/c1' }

/** Spare interfaces over a kernel that refuses a name that is taken, and needs some turns for everything. */
function startOnFakeKernel(): { spare: SpareInterfaces; mostAtOnce: () => number; count: () => number } {
  let [count, most, slots] = [0, 0, 0]
  const spare: SpareInterfaces = new SpareInterfaces({
    async make(): Promise<MadeInterface> {
      await turns(2)
      most = Math.max(most, ++count)
      return { slot: ++slots, inside: {} as ContainerEnd }
    },
    remove(_made: MadeInterface, place: ContainerInterface): Promise<void> {
      const removal = turns(3).then(() => void count--)
      spare.leave(place, removal) // as the engine does for every interface that it removes
      return removal
    },
  })
  return { spare, mostAtOnce: () => most, count: () => count }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn()
}

it.each([0, 1, 2, 3, 4, 5, 6, 7])(
  'of ADDs that fail one after the other, %i turns apart, never two have the name of the interface',
  async (apart) => {
    const { spare, mostAtOnce, count } = startOnFakeKernel()
    for (let attempt = 0; attempt < 5; attempt++) {
      spare.prepare(container)[Symbol.dispose]()
      await turns(apart)
    }
    await spare.take(container)
    expect(mostAtOnce()).toBe(1)
    await turns(20)
    expect(count()).toBe(1)
  },
)
