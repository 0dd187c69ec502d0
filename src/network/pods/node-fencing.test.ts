import { describe, expect, it } from 'vitest'
import type { KubernetesNode, Node } from '../../api/index.ts'
import { isOff } from './node-fencing.ts'

const target = (...keys: string[]): KubernetesNode => ({ metadata: { name: 'n1' }, spec: { taints: keys.map((key) => ({ key })) } }) // prettier-ignore
const node = (state: boolean | undefined, reason = 'HeartbeatsMissed'): Node => ({
  metadata: { name: 'n1' },
  spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 10 },
  status: state === undefined ? {} : { ready: { state, reason, message: '', since: '' } },
})
const statement = 'node.kubernetes.io/out-of-service'

describe('a node is off', () => {
  it.each<[string, KubernetesNode | undefined, Node, boolean]>([
    ['when it is stated, and its agent is silent', target(statement), node(false), true],
    ['not by silence alone', target('node.kubernetes.io/unreachable'), node(false), false],
    ['not because Kubernetes forgot it', undefined, node(false), false],
    ['not while its agent reports, whatever is stated', target(statement), node(true), false],
    ['not while its agent reports that its uplink is down', target(statement), node(false, 'UplinkDown'), false],
    ['not before control has looked', target(statement), node(undefined), false],
  ])('%s', (_what, kubernetesNode, carbonadoNode, expected) => {
    expect(isOff(kubernetesNode, carbonadoNode)).toBe(expected)
  })
})
