import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { labDirectory } from '../places.ts'
import { readJson, writeJson } from '../state.ts'
import { kubernetesPlaces } from './places.ts'

/** Three kubelets and containerds need some 35 of these for each lab; a machine has 128 for each user unless told. */
const instances = { name: 'fs/inotify/max_user_instances', least: 1024 }

/** What kubelet or a lab with Kubernetes sets for the whole machine, whatever namespaces they run in; paths below /proc/sys. */
export const touchedSysctls = [
  instances.name,
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
]

/**
 * Notes how the machine is set before any kubelet starts: as another lab has noted it, whose kubelets may run already.
 * Then makes room for the kubelets.
 */
export async function rememberSysctls(): Promise<void> {
  await oneLabAtATime(() => {
    if (readJson(kubernetesPlaces.sysctls)) return
    const values = notesOfOthers()[0] ?? Object.fromEntries(touchedSysctls.map((name) => [name, readSysctl(name)]))
    writeJson(kubernetesPlaces.sysctls, values)
    if (Number(readSysctl(instances.name)) < instances.least) {
      writeFileSync(`/proc/sys/${instances.name}`, String(instances.least))
    }
  })
}

/** Sets back what kubelets and the lab changed; nothing when none was started, or when another lab still has some. */
export async function restoreSysctls(): Promise<void> {
  await oneLabAtATime(() => {
    const values = readJson<Record<string, string>>(kubernetesPlaces.sysctls) ?? {}
    for (const [name, value] of notesOfOthers().length > 0 ? [] : Object.entries(values)) {
      if (readSysctl(name) !== value) writeFileSync(`/proc/sys/${name}`, value)
    }
    rmSync(kubernetesPlaces.sysctls, { force: true }) // of two labs that go down at once, the second has no other
  })
}

/** Nobody but the kernel keeps the abstract socket that stands for the turn: it has gone with who held it, however that ended. */
async function oneLabAtATime(task: () => void): Promise<void> {
  const turn = createServer()
  for (;;) {
    try {
      await once(turn.listen('\0carbonado-lab-sysctls'), 'listening')
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      await sleep(10)
    }
  }
  try {
    task()
  } finally {
    turn.close()
  }
}

function readSysctl(name: string): string {
  return readFileSync(`/proc/sys/${name}`, 'utf8').trim()
}

function notesOfOthers(): Record<string, string>[] {
  const [folder, own] = [dirname(labDirectory), basename(labDirectory)]
  const others = readdirSync(folder).filter((name) => /^carbonado-lab(\.|$)/.test(name) && name !== own)
  return others.flatMap((name) => readJson(join(folder, name, relative(labDirectory, kubernetesPlaces.sysctls))) ?? [])
}
