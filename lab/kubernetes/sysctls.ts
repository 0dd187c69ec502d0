import { readFileSync, writeFileSync } from 'node:fs'
import { readJson, writeJson } from '../state.ts'
import { kubernetesPlaces } from './places.ts'

/** What kubelet sets for the whole machine, whatever namespaces it runs in. */
const touched = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
]

/** Notes how the machine is set before any kubelet starts. */
export function rememberSysctls(): void {
  if (readJson(kubernetesPlaces.sysctls)) return
  const values = Object.fromEntries(touched.map((name) => [name, readFileSync(`/proc/sys/${name}`, 'utf8').trim()]))
  writeJson(kubernetesPlaces.sysctls, values)
}

/** Sets back what kubelets changed; nothing when none was started. */
export function restoreSysctls(): void {
  const values = readJson<Record<string, string>>(kubernetesPlaces.sysctls) ?? {}
  for (const [name, value] of Object.entries(values)) {
    if (readFileSync(`/proc/sys/${name}`, 'utf8').trim() !== value) writeFileSync(`/proc/sys/${name}`, value)
  }
}
