import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Endpoint } from '../../api/index.ts'
import type { Informer } from '../../store/index.ts'
import { DecisionWait } from './decision-wait.ts'

const asked: Endpoint = {
  metadata: { name: 'a', namespace: 'default', uid: 'u', generation: 1 },
  spec: { networkName: 'blue', isStatic: false },
}
const allocation = { state: 'Refused', generation: 1, code: 'Exhausted', message: '' } as const

/** What a decision looks like to those who wait: the informer has it, and says so. */
function makeWait(): { wait: DecisionWait; decide: () => void } {
  let now = asked
  const listeners: ((event: { object: Endpoint }) => void)[] = []
  const informer = { get: () => now, onChange: (listener: never) => void listeners.push(listener) }
  const decide = (): void => {
    now = { ...asked, status: { allocation } } as unknown as Endpoint
    for (const listener of listeners) listener({ object: now })
  }
  return { wait: new DecisionWait(informer as unknown as Informer<Endpoint>), decide }
}

test('waits for the decision', async () => {
  const { wait, decide } = makeWait()
  const order: string[] = []
  const settled = wait.settled(asked, 60_000).then(() => order.push('answered'))
  order.push('decided')
  decide()
  await settled
  expect(order).toEqual(['decided', 'answered'])
})

test('sees a decision of the turn in which its patience is over, because the process stood still', async () => {
  const { wait, decide } = makeWait()
  let isDecided = false
  await nextTurn() // timers come next, and then what happens at the end of the turn
  const settled = wait.settled(asked, 20)
  const begin = performance.now()
  while (performance.now() - begin < 50); // nothing is heard meanwhile
  setImmediate(() => {
    isDecided = true
    decide()
  })
  await settled
  expect(isDecided).toBe(true)
})

test('gives up after its patience', async () => {
  await makeWait().wait.settled(asked, 20)
})
