import { expect, test } from 'vitest'
import { silentLogger } from '../../base/index.ts'
import { InterfaceRemover } from './interface-remover.ts'

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

test('a slot whose interface could not be removed stays taken until it is', async () => {
  const removed: number[][] = []
  const attempts: string[][] = []
  let failing = ['cbn2']
  const remover = new InterfaceRemover(
    async (slots) => void removed.push(slots),
    silentLogger(),
    async (names) => {
      attempts.push(names)
      return names.filter((name) => failing.includes(name))
    },
  )
  let isGone = false
  const [one, two] = [remover.remove(1, 'cbn1'), remover.remove(2, 'cbn2').then(() => (isGone = true))]
  await one
  expect(removed).toEqual([[1]])
  await turn()
  expect(isGone, 'nobody is told that it has gone').toBe(false)
  failing = []
  await two
  expect(removed).toEqual([[1], [2]])
  expect(attempts).toEqual([['cbn1', 'cbn2'], ['cbn2']])
})

test('stopping does not wait for what cannot be removed', async () => {
  const removed: number[][] = []
  const remover = new InterfaceRemover(
    async (slots) => void removed.push(slots),
    silentLogger(),
    async (names) => names,
  )
  void remover.remove(1, 'cbn1')
  await turn()
  await remover.stop()
  expect(removed).toEqual([])
})
