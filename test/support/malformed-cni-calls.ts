import type { Random } from './random.ts'

/** What is written to the CNI socket. */
export interface MalformedCall {
  bytes: Buffer
  /** Whether the frame may be one that never ends, to which nobody can answer. */
  isEndless: boolean
}

const greeting = Buffer.from('CARBONADO-CNI/1\n')
const commands = ['ADD', 'ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'add', '', 'X'.repeat(1000), 'ADD\n', '__proto__'] // prettier-ignore
const ids = ['c1', 'c2', '', '-c', '.', '..', '../../etc', 'c'.repeat(300), 'ä', 'a b', 'a\n', '$(id)', '__proto__']
const interfaceNames = ['eth0', 'eth1', '', 'lo', '.', '..', 'eth%d', '-x', 'e'.repeat(16), 'a/b', 'a b', 'ä', '; reboot', 'eth0\nlink del eth0'] // prettier-ignore
const paths = ['/run/netns/none', '/proc/self/ns/net', '/proc/self/ns/mnt', '/etc/passwd', '/', '', 'x', '/run/netns/../netns/none', `/${'x'.repeat(5_000)}`, '/dev/zero', '/run/netns/a\nb'] // prettier-ignore
const podArguments = ['', 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=p', ';;;', '=', 'a=b;c', 'K8S_POD_NAMESPACE=../x;K8S_POD_NAME=p', `K8S_POD_NAME=${'x'.repeat(300)}`] // prettier-ignore
const keys = ['cniVersion', 'name', 'type', 'network', 'perfTier', 'runtimeConfig', 'dns', 'prevResult', 'cni.dev/valid-attachments', 'cni.dev/attachments', 'args', 'ipam', '__proto__', 'constructor', ''] // prettier-ignore
const texts = ['', 'x', '1.1.0', '0.4.0', '9.9.9', 'test', 'blue', 'none', '\u0000', '\ud800', '{"network":"blue"}', '{"network":', '[]', 'x'.repeat(2_000)] // prettier-ignore

/** Makes calls of the CNI plugin that are wrong in all sorts of ways, among them some that are right. */
export class MalformedCalls {
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  next(): MalformedCall {
    const random = this.#random
    const [environment, input] = [this.#environment(), this.#input()]
    const isOdd = random.chance(0.05)
    const bytes = Buffer.concat([greeting, this.#block(environment, isOdd), this.#block(input, isOdd)])
    const kind = random.below(100)
    if (kind < 3) return { bytes: this.#garbled(bytes), isEndless: true }
    if (kind < 5) return { bytes: bytes.subarray(0, random.below(bytes.length)), isEndless: true }
    if (kind < 6) return { bytes: Buffer.concat([bytes, Buffer.from('more')]), isEndless: isOdd }
    return { bytes, isEndless: isOdd }
  }

  #block(content: Buffer, isOdd: boolean): Buffer {
    const length = Buffer.alloc(4)
    const wrong = this.#random.pick([0, 0xffffffff, 0x7fffffff, 1024 * 1024, content.length + 1])
    length.writeUInt32LE(isOdd && this.#random.chance(0.5) ? wrong : content.length)
    return Buffer.concat([length, content])
  }

  #environment(): Buffer {
    const random = this.#random
    const variables: [string, string][] = [
      ['CNI_COMMAND', random.pick(commands)],
      ['CNI_CONTAINERID', random.chance(0.5) ? 'c1' : random.pick(ids)],
      ['CNI_IFNAME', random.chance(0.5) ? 'eth0' : random.pick(interfaceNames)],
      ['CNI_NETNS', random.pick(paths)],
      ['CNI_ARGS', random.pick(podArguments)],
      ['CNI_PATH', random.pick(texts)],
    ]
    const kept = variables.filter(() => random.chance(0.95)).map((pair) => pair.join('='))
    if (random.chance(0.05)) kept.push('no equals sign', '=', '\0\0', 'CNI_COMMAND=DEL')
    return Buffer.from(kept.join('\0') + (random.chance(0.9) ? '\0' : ''))
  }

  #input(): Buffer {
    const random = this.#random
    const kind = random.below(100)
    if (kind < 3)
      return Buffer.from(random.pick(['', ' ', 'null', '[]', '1', '"x"', '{', '\ufeff{}', '{"a":1}x', '1e999']))
    if (kind < 4) return Buffer.from(`${'['.repeat(random.pick([100, 100_000]))}`)
    if (kind < 5) return Buffer.from([0x7b, 0x22, 0xff, 0xc0, 0x22, 0x3a, 0x31, 0x7d])
    const configuration: Record<string, unknown> = { cniVersion: '1.1.0', name: 'test', type: 'carbonado-cni' }
    for (let changes = random.below(4); changes > 0; changes--) configuration[random.pick(keys)] = this.#value(3)
    const annotations = {
      'carbonado.io/endpoint0': random.chance(0.3) ? '{"network":"none-such"}' : random.pick(texts),
    }
    if (random.chance(0.3)) configuration.runtimeConfig = { 'io.kubernetes.cri.pod-annotations': annotations }
    if (random.chance(0.1)) configuration['cni.dev/valid-attachments'] = [{ containerID: 'c1', ifname: 'eth0' }]
    const bytes = Buffer.from(JSON.stringify(configuration))
    return random.chance(0.1) ? this.#garbled(bytes) : bytes
  }

  #value(depth: number): unknown {
    const random = this.#random
    if (depth === 0 || random.chance(0.5)) return random.pick([null, true, 0, -1, 1e308, ...texts])
    if (random.chance(0.4)) return Array.from({ length: random.below(4) }, () => this.#value(depth - 1))
    return Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(keys), this.#value(depth - 1)])) // prettier-ignore
  }

  #garbled(bytes: Buffer): Buffer {
    const garbled = Buffer.from(bytes)
    for (let changes = 1 + this.#random.below(4); changes > 0; changes--) {
      garbled[this.#random.below(garbled.length)] = this.#random.below(256)
    }
    return garbled
  }
}
