import { places } from '../../lab/index.ts'
import { exec } from '../../src/base/index.ts'

/**
 * A `tc` filter that drops frames of a VLAN. It is a classic BPF program, because the tag is beside the frame and not in
 * it: only a program sees it there.
 */
function dropVlan(vlan: number): string[] {
  const tag = 0x100000000 - 4096 + 44 // SKF_AD_OFF + SKF_AD_VLAN_TAG of linux/filter.h
  const [drop, goOn] = [2, 0xffffffff] // TC_ACT_SHOT, TC_ACT_UNSPEC
  return ['bpf', 'direct-action', 'bytecode', `5,40 0 0 ${tag},84 0 0 4095,21 0 1 ${vlan},6 0 0 ${drop},6 0 0 ${goOn}`]
}

const directions = ['ingress', 'egress']

function filterAtPort(verb: 'add' | 'del', port: string, direction: string, rule: string[]): Promise<unknown> {
  const command = ['tc', 'filter', verb, 'dev', port, direction, 'prio', '1', 'protocol', 'all', ...rule]
  return exec(['nsenter', `--net=${places.switchNetns}`, ...command])
}

/** As if the VLAN was not allowed on the trunk to that node. */
export async function forbidVlan(port: string, vlan: number): Promise<void> {
  await Promise.all(directions.map((direction) => filterAtPort('add', port, direction, dropVlan(vlan))))
}

/** Takes back what `forbidVlan` did to a port. */
export async function allowVlans(port: string): Promise<void> {
  await Promise.all(directions.map((direction) => filterAtPort('del', port, direction, [])))
}
