import { setTimeout as sleep } from 'node:timers/promises'
import type { Container, Lab } from '../index.ts'
import { iops, type Narrator } from './narration.ts'
import { showDctl } from './networks.ts'
import { deviceOf, fillVolume, latencyDuring, liveVolumes, startLoad, type Latency } from './volumes.ts'

/** Operations per second that a drive of the demo gives: well below what the machine can do. */
export const demoDriveIops = 4000
const floor = 1500
/** A second counts as delivered from this share of the floor on, as in attainment. */
const tolerance = 0.95
const neighbours = ['noisy1', 'noisy2', 'noisy3', 'noisy4']

/** Begins to make a pool on the drive of n1; it takes some seconds in which other steps are shown. */
export function beginFormat(lab: Lab): Promise<string> {
  return lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 }).then(({ stdout }) => stdout)
}

/** Steps 7 and 8: a database-like writer against neighbours that flood the same drive, without a promise and with. */
export async function showStorage(lab: Lab, narrator: Narrator, formatted: Promise<string>): Promise<void> {
  narrator.step(7, 'A database and its noisy neighbours on one drive')
  narrator.explain(`The drive of n1 gives ${demoDriveIops} operations per second, and was made a pool at the start:`)
  narrator.command('dctl drive format n1.drive0 -y')
  narrator.output(await formatted)
  await showDctl(lab, narrator, `perf-tier create database -i ${floor}`)
  const [database, ...others] = await Promise.all(['db', ...neighbours].map((name) => withVolume(lab, name)))
  narrator.explain(
    'db and four neighbours write and read 4 KiB at random, 32 at a time; half of the neighbours by fsync.',
  )
  const loads = await Promise.all(
    others.map((each, index) =>
      startLoad(lab, neighbours[index]!, each, index % 2 === 0 ? '--direct=1' : `--fsync=${8 * index}`),
    ),
  )
  const load = await startLoad(lab, 'db', database!, '--direct=1')
  const total = await showFloor(lab, narrator)
  await showSnapshot(lab, narrator)
  load.kill('SIGKILL')
  await database!.kill()
  narrator.say('   db has ended: what it does not use, the others may:')
  await sleep(1500)
  const most = Math.max(...(await watch(lab, narrator, 2, 0)).map((second) => second.others))
  narrator.check(
    most >= 0.8 * total,
    `neighbours use ${iops(most).trim()}, all together had ${iops(total).trim()} before`,
  )
  for (const each of loads) each.kill('SIGKILL')
  await Promise.all(others.map((each) => each.kill()))
}

/** Without a promise, then with; what all volumes did together on average without. */
async function showFloor(lab: Lab, narrator: Narrator): Promise<number> {
  narrator.say('   Everybody best effort:')
  const alone = await watch(lab, narrator, 4, 0)
  narrator.explain(`Without a promise db gets ${iops(average(alone)).trim()} IOPS on average.`)
  narrator.say(`   db with tier database (floor ${floor}), changed while it runs:`)
  await showDctl(lab, narrator, 'volume update db -p database')
  await sleep(1000)
  const promised = await watch(lab, narrator, 6, floor)
  const met = promised.filter(({ db }) => db >= floor * tolerance).length
  const delivered = `promised ${floor}, delivered ${iops(average(promised)).trim()}`
  const least = promised.length - 1 // a busy machine may lose one
  const told = `floor met in ${met} of ${promised.length} seconds (at least ${least} are asked for)`
  narrator.check(met >= least, `${delivered}: ${told}`)
  await showDctl(lab, narrator, 'volume describe db')
  return alone.reduce((sum, { db, others }) => sum + db + others, 0) / alone.length
}

/** Step 8, under the same load: a snapshot, a clone of it beside the original, and an enlargement. */
async function showSnapshot(lab: Lab, narrator: Narrator): Promise<void> {
  narrator.step(8, 'Snapshot, clone and resize under that load')
  const device = await deviceOf(lab, 'db')
  const tell = ({ mean, pause }: Latency): string => `${mean.toFixed(1)} ms, longest pause ${pause.toFixed(0)} ms`
  const before = await latencyDuring(device, sleep(1500))
  const during = await latencyDuring(device, showDctl(lab, narrator, 'snapshot create s1 --src db'))
  const after = await latencyDuring(device, sleep(1500))
  narrator.say(`     an operation of db took, before:  ${tell(before)}`)
  narrator.say(`                             during:  ${tell(during)}`)
  narrator.say(`                             after:   ${tell(after)}`)
  narrator.check(during.pause < 1000, 'the snapshot held no operation of db up for a second')
  await showDctl(lab, narrator, 'volume create db-test --src s1')
  const test = await lab.startContainer({
    node: 'n1',
    name: 'db-test',
    network: 'blue',
    volumes: ['db-test:/run/data'],
  })
  const { stdout } = await test.exec(['stat', '--format=%s', '/run/data/file'])
  narrator.check(Number(stdout) === 128 * 2 ** 20, 'a clone runs beside it, with the file of db as it was')
  await test.kill()
  const sizeOf = async (): Promise<number> =>
    Number((await lab.container('db-1').exec(['df', '--output=size', '/run/data'])).stdout.split('\n')[1])
  const small = await sizeOf()
  await showDctl(lab, narrator, 'volume update db -s 448Mi').catch((error: unknown) =>
    narrator.output((error as Error).message),
  )
  const large = await sizeOf()
  narrator.check(large > small, `the filesystem of db has grown under use: ${small} to ${large} KiB`)
}

interface Second {
  db: number
  others: number
}

/** Prints a bar for each second. */
async function watch(lab: Lab, narrator: Narrator, seconds: number, promised: number): Promise<Second[]> {
  const seen: Second[] = []
  for (let second = 0; second < seconds; second++) {
    await sleep(1000)
    const volumes = await liveVolumes(lab, 'n1')
    const db = volumes.find(({ name }) => name === 'db')?.iops ?? 0
    const others = volumes.filter(({ name }) => name !== 'db').reduce((sum, each) => sum + each.iops, 0)
    const note = promised === 0 ? '' : db >= promised * tolerance ? 'floor met' : 'BELOW FLOOR'
    narrator.bar({ gold: db, others, link: demoDriveIops, floor: promised }, note, { name: 'db', format: iops })
    seen.push({ db, others })
  }
  return seen
}

function average(seconds: Second[]): number {
  return seconds.reduce((sum, { db }) => sum + db, 0) / seconds.length
}

/** The volume of the database has XFS, which grows under use whatever the agent may. */
async function withVolume(lab: Lab, name: string): Promise<Container> {
  const shape = name === 'db' ? ['-s', '320Mi', '-f', 'xfs'] : ['-s', '192Mi']
  await lab.dctl(['volume', 'create', name, '-n', 'n1', ...shape], { deadline: 30_000 })
  const volumes = [`${name}:/run/data`]
  const container = await lab.startContainer({ node: 'n1', name: `${name}-1`, network: 'blue', volumes })
  await fillVolume(container)
  return container
}
