import { Lab, takeLabDown } from '../index.ts'
import { showGuarantee } from './guarantee.ts'
import { showReceiveFloor } from './receive-floor.ts'
import { showIsolation } from './isolation.ts'
import { runDemo, sayOutcome } from './frame.ts'
import type { Narrator } from './narration.ts'
import { createNetworks } from './networks.ts'
import { beginFormat, demoDriveIops, showStorage } from './storage-guarantee.ts'
import { showStaticEndpoint } from './static-endpoint.ts'
import { showTwoInterfaces } from './two-interfaces.ts'

/** Runs the demo on a fresh lab. */
async function demo(narrator: Narrator): Promise<void> {
  const started = Date.now()
  const seconds = (): string => `${((Date.now() - started) / 1000).toFixed(1)} s`
  narrator.say('Carbonado: containers on data-centre networks and volumes with guaranteed performance.')
  narrator.say('A lab of three nodes on this machine: real network namespaces, eBPF, runc, control and agents.')
  await takeLabDown()
  const lab = await Lab.up({ nodes: 3, rate: 1e9, driveIops: demoDriveIops, driveSize: 3 * 2 ** 30 })
  const formatted = beginFormat(lab)
  formatted.catch(() => {}) // its step tells
  narrator.say(`Lab up after ${seconds()}: control, and nodes n1, n2, n3 with 1 Gbit/s links to one switch.`)
  await createNetworks(lab, narrator)
  const { peer } = await showIsolation(lab, narrator)
  await showGuarantee(lab, narrator)
  await showReceiveFloor(lab, narrator)
  await showStaticEndpoint(lab, narrator, peer)
  await showTwoInterfaces(lab, narrator)
  await showStorage(lab, narrator, formatted)
  await lab.close()
  conclude(narrator, seconds())
}

function conclude(narrator: Narrator, took: string): void {
  sayOutcome(narrator, 'Every promise was kept.', 'Broken promises', took)
  narrator.explain(
    'Traffic from outside the cluster cannot be held back at its source: docs/guarantee.md says what holds then.',
  )
  narrator.say('The lab is still up. Things to try next:')
  narrator.say('  bin/dctl endpoint list -o wide                       who is attached, promised, delivered, dropped')
  narrator.say('  bin/dctl endpoint describe web                       why is it slow?')
  narrator.say('  bin/dctl volume list -o wide                         promised, delivered, attainment of volumes')
  narrator.say('  bin/dctl network trace web tenant                    where would a packet be dropped, and why?')
  narrator.say(
    '  bin/dctl lab run n2 mine --network blue --perf-tier gold && bin/dctl lab exec mine -- ping -c 3 10.30.0.50',
  )
  narrator.say('  bin/dctl perf-tier create huge -b 2G && bin/dctl lab run n1 big --network blue --perf-tier huge')
  narrator.say('                                                       (refused: it does not fit, with the numbers)')
  narrator.say('Remove everything with: make demo-down')
}

await runDemo(demo)
