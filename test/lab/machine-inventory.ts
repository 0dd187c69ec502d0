import { readdirSync, readFileSync } from 'node:fs'
import { touchedSysctls } from '../../lab/kubernetes/index.ts'
import { driveDirectory, labDirectory, labPrefix } from '../../lab/places.ts'
import { exec, type ExecError } from '../../src/base/index.ts'

/** Everything on the machine that a lab could change, whether the lab knows of it or not. */
export interface MachineInventory {
  mounts: string[]
  devices: string[]
  namespaces: string[]
  loopDevices: string[]
  cgroups: string[]
  sysctls: string[]
}

/** These change by themselves. */
const restless =
  /^(fs\.(aio-nr|dentry-state|file-nr|inode-nr|inode-state|quota)|kernel\.(random|ns_last_pid|pty\.nr|sched_domain)|net\.netfilter\.nf_conntrack_count|vm\.stat)/

/** Loop devices that other runs have beside this lab come and go: what counts are those on files of its own. */
function isOfLab(device: string): boolean {
  return [driveDirectory, labDirectory].some((folder) => device.includes(`${folder}/`))
}

/** Whether labs with Kubernetes set it, which other tests have beside this lab. */
function isOfClusters(sysctl: string): boolean {
  return touchedSysctls.some((path) => sysctl.startsWith(`${path.replaceAll('/', '.')} `))
}

/** Whether tests of limits on drives have made it, which run beside this lab. */
function isOfDriveTests(text: string): boolean {
  return /\/carbonado-(limits|paced)-/.test(text)
}

/** Whether something carries the name of another lab, which may go up or down at any time. */
function isOfAnotherLab(text: string): boolean {
  const named = /\b(?:cbl|carbonado-lab)(\.[a-z0-9]+)?(?=[-/]|$)/.exec(text)
  return named !== null && `cbl${named[1] ?? ''}` !== labPrefix
}

/** Looks at the machine itself, not at what the lab says about it. */
export async function takeMachineInventory(): Promise<MachineInventory> {
  const lines = (text: string): string[] => text.split('\n').filter(Boolean).sort()
  const output = async (...command: [string, ...string[]]): Promise<string[]> => lines((await exec(command)).stdout)
  const sysctls = await exec(['sysctl', '--all', '--ignore', '--quiet']).catch((error: { stdout: string }) => error)
  // it fails when one goes while it looks
  const cgroups = await exec(['find', '/sys/fs/cgroup', '-type', 'd']).catch((error: ExecError) => {
    if (error.exitCode === 1) return error
    throw error
  })
  const inventory: MachineInventory = {
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8')).map((line) => line.split(' ')[4]!),
    devices: readdirSync('/sys/class/net'),
    namespaces: readdirSync('/run').includes('netns') ? readdirSync('/run/netns') : [],
    loopDevices: (await output('losetup', '--noheadings', '--output', 'NAME,BACK-FILE')).filter((line) =>
      isOfLab(line),
    ),
    cgroups: lines(cgroups.stdout),
    sysctls: lines(sysctls.stdout).filter((line) => !restless.test(line) && !isOfClusters(line)),
  }
  const withoutOthers = Object.entries(inventory).map(([what, found]: [string, string[]]) => [
    what,
    found.filter((each) => !isOfAnotherLab(each) && !isOfDriveTests(each)),
  ])
  return Object.fromEntries(withoutOthers) as MachineInventory
}
