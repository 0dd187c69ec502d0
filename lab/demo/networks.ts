import type { Lab } from '../index.ts'
import type { Narrator } from './narration.ts'

/** Runs dctl and shows it as if typed. */
export async function showDctl(lab: Lab, narrator: Narrator, line: string): Promise<string> {
  narrator.command(`dctl ${line}`)
  const { stdout } = await lab.dctl(line.split(' '))
  narrator.output(stdout)
  return stdout
}

/** Step 1: two networks with the same subnet on different VLANs, and a tier. */
export async function createNetworks(lab: Lab, narrator: Narrator): Promise<void> {
  narrator.step(1, 'Networks of the data centre, and performance tiers')
  narrator.explain("A network is a VLAN on the nodes' uplinks. Two may use the same subnet: green is another tenant's.")
  await showDctl(
    lab,
    narrator,
    'network create blue -s 10.30.0.0/24 --start 10.30.0.10 --end 10.30.0.200 -g 10.30.0.1 -v 100',
  )
  await showDctl(lab, narrator, 'network create green -s 10.30.0.0/24 -g 10.30.0.1 -v 200')
  narrator.explain(
    'A tier promises a floor (-b) and sets a cap (-B). gold: 600 Mbit/s guaranteed; capped: never above 100.',
  )
  await showDctl(lab, narrator, 'perf-tier create gold -b 600M')
  await showDctl(lab, narrator, 'perf-tier create capped -B 100M')
  await showDctl(lab, narrator, 'network list')
  await showDctl(lab, narrator, 'perf-tier list')
}
