import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CarbonadoError, Exhausted, Internal, silentLogger, Unavailable } from '../../base/index.ts'
import type { AddRequest } from '../attachments/wish.ts'
import { annotationsCapability, decodeInput } from './configuration.ts'
import { toCniError } from './errors.ts'
import { createCniHandler, type AttachmentOperations } from './handler.ts'
import { parseRequest } from './request.ts'
import { formatResult, type AttachmentResult } from './result.ts'
import { supportedVersions } from './versions.ts'

const attached: AttachmentResult = {
  hostInterface: 'cb1',
  interfaceName: 'eth0',
  netns: '/run/netns/c1',
  macAddress: '02:00:00:00:00:01',
  mtu: 1496,
  addresses: [
    { address: '10.0.0.2', prefixLength: 24, gateway: '10.0.0.1' },
    { address: 'fd00::2', prefixLength: 64 },
  ],
}

const operations: AttachmentOperations = {
  add: async () => attached,
  remove: async () => {},
  check: async () => attached,
  collectGarbage: async () => {},
  status: async () => {},
}

const handler = createCniHandler(operations, silentLogger())

const goodEnvironment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_IFNAME: 'eth0',
  CNI_NETNS: '/run/netns/c1',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0',
}
const goodConfiguration = { cniVersion: '1.1.0', name: 'cluster', type: 'carbonado-cni' }

async function call(
  environment: Record<string, string | undefined>,
  configuration: unknown = goodConfiguration,
): Promise<{ exitCode: number; output: Record<string, unknown> | undefined }> {
  const variables = Object.entries({ ...goodEnvironment, ...environment }).filter((pair) => pair[1] !== undefined)
  const input = typeof configuration === 'string' ? configuration : JSON.stringify(configuration)
  const reply = await handler(new Map(variables as [string, string][]), Buffer.from(input))
  return { exitCode: reply.exitCode, output: reply.output === '' ? undefined : (JSON.parse(reply.output) as never) }
}

function annotated(annotations: Record<string, string>): object {
  return { ...goodConfiguration, runtimeConfig: { [annotationsCapability]: annotations } }
}

function parseAdd(configuration: object, environment: Record<string, string> = {}): AddRequest | undefined {
  const request = parseRequest(new Map(Object.entries({ ...goodEnvironment, ...environment })), {
    ...goodConfiguration,
    ...configuration,
  })
  return request.verb === 'ADD' ? request.add : undefined
}

describe('versions', () => {
  test.each(['0.3.0', '0.3.1', '0.4.0'] as const)('%s has ips with version', (version) => {
    expect(formatResult(version, attached)).toEqual({
      cniVersion: version,
      interfaces: [{ name: 'cb1' }, { name: 'eth0', mac: attached.macAddress, sandbox: attached.netns }],
      ips: [
        { version: '4', address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 1 },
        { version: '6', address: 'fd00::2/64', interface: 1 },
      ],
      routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }],
      dns: {},
    })
  })

  test('1.0.0 has ips without version, 1.1.0 also mtu', () => {
    expect(formatResult('1.0.0', attached)).toMatchObject({
      interfaces: [{ name: 'cb1' }, { name: 'eth0' }],
      ips: [
        { address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 1 },
        { address: 'fd00::2/64', interface: 1 },
      ],
    })
    expect(JSON.stringify(formatResult('1.0.0', attached))).not.toMatch(/"version"|"mtu"/)
    expect(formatResult('1.1.0', attached)).toMatchObject({ interfaces: [{ mtu: 1496 }, { mtu: 1496 }] })
  })

  test.each(['0.1.0', '0.2.0'] as const)('%s has ip4 and ip6', (version) => {
    expect(formatResult(version, attached)).toEqual({
      cniVersion: version,
      ip4: { ip: '10.0.0.2/24', gateway: '10.0.0.1', routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }] },
      ip6: { ip: 'fd00::2/64', routes: [] },
      dns: {},
    })
  })

  test('what earlier plugins made comes first', () => {
    const previous = { interfaces: [{ name: 'br0' }], ips: [{ address: '10.9.0.2/24', interface: 0 }] }
    expect(formatResult('0.4.0', attached, previous)).toMatchObject({
      interfaces: [{ name: 'br0' }, { name: 'cb1' }, { name: 'eth0' }],
      ips: [{ version: '4', address: '10.9.0.2/24', interface: 0 }, { interface: 2 }, { interface: 2 }],
    })
  })

  test.each([
    ['ADD', '2.0.0', 1],
    ['CHECK', '0.3.1', 1],
    ['GC', '1.0.0', 1],
    ['STATUS', '0.4.0', 1],
  ])('%s with version %s is code %i', async (verb, cniVersion, code) => {
    const { exitCode, output } = await call({ CNI_COMMAND: verb }, { ...goodConfiguration, cniVersion })
    expect(exitCode).toBe(1)
    expect(output!.code).toBe(code)
  })

  test('VERSION answers with all versions, also for nothing or an unknown version on standard input', async () => {
    expect(await call({ CNI_COMMAND: 'VERSION' }, '')).toMatchObject({ exitCode: 0, output: { supportedVersions } })
    const { output } = await call({ CNI_COMMAND: 'VERSION' }, { cniVersion: '9.0.0' })
    expect(output).toEqual({ cniVersion: '1.1.0', supportedVersions })
    expect((await call({ CNI_COMMAND: 'VERSION' }, { cniVersion: '0.4.0' })).output!.cniVersion).toBe('0.4.0')
  })
})

describe('environment', () => {
  test.each([
    ['CNI_COMMAND', undefined],
    ['CNI_COMMAND', 'FROB'],
    ['CNI_CONTAINERID', undefined],
    ['CNI_CONTAINERID', '../../etc'],
    ['CNI_CONTAINERID', 'a b'],
    ['CNI_CONTAINERID', 'x'.repeat(257)],
    ['CNI_IFNAME', undefined],
    ['CNI_IFNAME', ''],
    ['CNI_IFNAME', 'a/b'],
    ['CNI_IFNAME', 'a:b'],
    ['CNI_IFNAME', '..'],
    ['CNI_IFNAME', '.'],
    ['CNI_IFNAME', 'sixteen-letters-'],
    ['CNI_IFNAME', 'eth%d'],
    ['CNI_IFNAME', '-all'],
    ['CNI_IFNAME', 'lo'],
    ['CNI_IFNAME', 'ätsch'],
    ['CNI_NETNS', undefined],
    ['CNI_NETNS', 'relative'],
    ['CNI_ARGS', 'no-equals-sign'],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=UPPER;K8S_POD_NAME=x'],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=a'],
  ])('%s = %j is code 4', async (name, value) => {
    const { exitCode, output } = await call({ [name]: value })
    expect(exitCode).toBe(1)
    expect(output).toMatchObject({ code: 4, cniVersion: '1.1.0' })
    expect(output!.msg).toContain(name)
  })

  test('DEL needs no CNI_NETNS', async () => {
    expect(await call({ CNI_COMMAND: 'DEL', CNI_NETNS: undefined })).toEqual({ exitCode: 0, output: undefined })
  })
})

describe('configuration', () => {
  test.each([
    ['{', 6],
    ['[]', 6],
    ['null', 6],
    ['"text"', 6],
    [{ ...goodConfiguration, name: undefined }, 7],
    [{ ...goodConfiguration, name: 'a/b' }, 7],
    [{ ...goodConfiguration, network: 7 }, 7],
    [{ ...goodConfiguration, network: '' }, 7],
    [{ ...goodConfiguration, runtimeConfig: 'x' }, 7],
    [{ ...goodConfiguration, runtimeConfig: { [annotationsCapability]: { a: 1 } } }, 7],
    [{ ...goodConfiguration, prevResult: [] }, 7],
    [{ ...goodConfiguration, netwrok: 'blue' }, 2],
    [{ ...goodConfiguration, ipam: { type: 'host-local' } }, 2],
    [{ ...goodConfiguration, cniVersion: 7 }, 1],
  ])('%j is code %i', async (configuration, code) => {
    expect((await call({}, configuration)).output!.code).toBe(code)
  })

  test('not UTF-8 is code 6', async () => {
    const reply = await handler(new Map(Object.entries(goodEnvironment)), Buffer.from([0x7b, 0xff, 0x7d]))
    expect(JSON.parse(reply.output)).toMatchObject({ code: 6, cniVersion: '1.0.0' })
  })

  test('GC without a list of valid attachments is refused, never taken for an empty one', async () => {
    expect((await call({ CNI_COMMAND: 'GC' })).output!.code).toBe(7)
    const valid = { 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] }
    expect((await call({ CNI_COMMAND: 'GC' }, { ...goodConfiguration, ...valid })).exitCode).toBe(0)
  })

  test('CHECK compares with prevResult', async () => {
    const check = (prevResult: unknown): ReturnType<typeof call> =>
      call({ CNI_COMMAND: 'CHECK' }, { ...goodConfiguration, prevResult })
    expect((await check(formatResult('1.1.0', attached))).exitCode).toBe(0)
    expect((await check(undefined)).output!.code).toBe(7)
    const other = formatResult('1.1.0', { ...attached, macAddress: '02:00:00:00:00:09' })
    expect((await check(other)).output!.code).toBe(110)
    expect((await check(formatResult('1.1.0', { ...attached, addresses: [] }))).output!.code).toBe(110)
  })
})

/** Annotations for two interfaces. */
const two = (first: object, second: object): Record<string, string> => ({
  'carbonado.io/endpoint0': JSON.stringify(first),
  'diamanti.com/endpoint1': JSON.stringify(second),
})

describe('several interfaces', () => {
  test('are endpoint0, endpoint1, ..., under both prefixes, and become eth0, eth1, ...', () => {
    const add = parseAdd({
      ...annotated(two({ network: 'blue' }, { network: 'green', metric: 20 })),
      perfTier: 'high',
    })!
    expect(add.wish).toEqual({ kind: 'dynamic', networkName: 'blue', perfTierName: 'high' })
    expect(add.children).toEqual([
      { interfaceName: 'eth1', wish: { kind: 'dynamic', networkName: 'green', perfTierName: 'high' }, metric: 20 },
    ])
    expect(parseAdd(annotated(two({ network: 'blue' }, { network: 'blue' })))!.children).toHaveLength(1)
  })

  test('the tenth comes after the ninth', () => {
    const annotations = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [
        `carbonado.io/endpoint${index}`,
        `{"network":"n${index}"}`,
      ]).toReversed(),
    )
    const { children } = parseAdd(annotated(annotations))!
    expect(children!.map(({ interfaceName, wish }) => [interfaceName, (wish as { networkName: string }).networkName])).toEqual(
      Array.from({ length: 11 }, (_, index) => [`eth${index + 1}`, `n${index + 1}`]),
    ) // prettier-ignore
  })

  test('another name than eth0 is that interface alone, whatever the annotations say', () => {
    const configuration = {
      ...annotated(two({ network: 'blue' }, { network: 'green' })),
      network: 'red',
      args: { cni: { metric: 30, labels: [{ key: 'a', value: 'b' }] } },
    }
    const add = parseAdd(configuration, { CNI_IFNAME: 'net1' })!
    expect(add).toMatchObject({ interfaceName: 'net1', isAdditional: true, metric: 30 })
    expect(add.wish).toEqual({ kind: 'dynamic', networkName: 'red' })
    expect(add.children).toBeUndefined()
    expect(parseAdd(annotated({ 'carbonado.io/endpoint': 'none' }), { CNI_IFNAME: 'net1' })).toBeDefined()
    const chosen = parseAdd({ ...configuration, args: { cni: { endpointId: 'db' } } }, { CNI_IFNAME: 'net1' })!
    expect(chosen.wish).toEqual({ kind: 'static', endpointName: 'db' })
  })

  test('addresses and MAC of the runtime are for the interface of the call', async () => {
    const runtimeConfig = { ips: ['10.30.0.50/24', 'fd00::50'], mac: '02:AB:00:00:00:01' }
    expect(parseAdd({ runtimeConfig })!.wish).toMatchObject({
      addresses: ['10.30.0.50', 'fd00::50'],
      macAddress: '02:ab:00:00:00:01',
    })
    for (const wrong of [{ ips: ['ten'] }, { mac: '02:ab' }, { ips: ['fe80::1%eth0'] }]) {
      expect((await call({}, { ...goodConfiguration, runtimeConfig: wrong })).output!.code).toBe(7)
    }
    const held = { ...goodConfiguration, runtimeConfig, args: { cni: { endpointId: 'db' } } }
    expect((await call({ CNI_IFNAME: 'net1' }, held)).output!.msg).toContain('beside a static endpoint')
  })

  test('only the primary has its addresses in ips; the others are interfaces', () => {
    const child = { ...attached, interfaceName: 'eth1', hostInterface: 'cb2', macAddress: '02:00:00:00:00:02' }
    const result = formatResult('1.0.0', { ...attached, children: [child] })
    expect(result).toMatchObject({
      interfaces: [{ name: 'cb1' }, { name: 'eth0' }, { name: 'cb2' }, { name: 'eth1', mac: '02:00:00:00:00:02' }],
      ips: [{ interface: 1 }, { interface: 1 }],
      routes: [{ dst: '0.0.0.0/0' }],
    })
    expect((result as { ips: unknown[] }).ips).toHaveLength(2)
  })
})

describe('a prefix of static endpoints', () => {
  test.each([
    ['web-0', { kind: 'static', endpointName: 'db-0' }],
    ['web-17', { kind: 'static', endpointName: 'db-17' }],
    ['web-6d4cf56db6-x7k2p', { kind: 'any-static', prefix: 'db' }],
    ['web-6d4cf56db6-24567', { kind: 'any-static', prefix: 'db' }],
    ['web-01', { kind: 'any-static', prefix: 'db' }],
    ['web', { kind: 'any-static', prefix: 'db' }],
  ])('for pod %s is %j', (name, wish) => {
    const configuration = annotated({ 'carbonado.io/endpoint0': '{"endpointPrefix":"db"}' })
    expect(parseAdd(configuration, { CNI_ARGS: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name}` })!.wish).toEqual(wish)
  })

  test('without a pod is any that is free', () => {
    const configuration = annotated({ 'carbonado.io/endpoint0': '{"endpointPrefix":"db"}' })
    expect(parseAdd(configuration, { CNI_ARGS: '' })!.wish).toEqual({ kind: 'any-static', prefix: 'db' })
  })
})

describe('what a container asks for', () => {
  test('comes from the annotation, filled up by the configuration', () => {
    expect(parseAdd({ network: 'blue', perfTier: 'medium' })!.wish).toEqual({
      kind: 'dynamic',
      networkName: 'blue',
      perfTierName: 'medium',
    })
    const configuration = { ...annotated({ 'carbonado.io/endpoint0': '{"perfTier":"high"}' }), network: 'blue' }
    expect(parseAdd(configuration)!.wish).toEqual({ kind: 'dynamic', networkName: 'blue', perfTierName: 'high' })
    expect(parseAdd(annotated({ 'diamanti.com/endpoint0': '{"endpointId":"ep1"}' }))!.wish).toEqual({
      kind: 'static',
      endpointName: 'ep1',
    })
    expect(parseAdd({})!.pod).toEqual({ namespace: 'shop', name: 'web-0' })
    expect(parseAdd({}, { CNI_ARGS: '' })!.pod).toBeUndefined()
  })

  test('may be no interface at all', async () => {
    const configuration = annotated({ 'carbonado.io/endpoint': 'none' })
    expect(parseAdd(configuration)).toBeUndefined()
    expect((await call({}, configuration)).output).toMatchObject({ interfaces: [], ips: [] })
  })

  test.each([
    [{ 'carbonado.io/endpoint0': 'blue' }, 7, 'is not JSON'],
    [{ 'carbonado.io/endpoint0': '[]' }, 7, 'expected a JSON object'],
    [{ 'carbonado.io/endpoint0': '{"netwrok":"blue"}' }, 2, '"netwrok"'],
    [{ 'carbonado.io/endpoint0': '{"networkGroup":"g1","network":"blue"}' }, 7, 'network beside networkGroup'],
    [{ 'carbonado.io/endpoint0': '{"networkGroup":["g1"]}' }, 7, 'networkGroup a list'],
    [{ 'carbonado.io/endpoint0': '{"network":5}' }, 7, 'network 5'],
    [{ 'carbonado.io/endpoint0': '{"network":"Blue"}' }, 7, 'network "Blue"'],
    [{ 'carbonado.io/endpoint0': '{"endpointId":"e","network":"n"}' }, 7, 'network beside endpointId'],
    [{ 'carbonado.io/endpoint0': '{"endpointPrefix":"e","perfTier":"high"}' }, 7, 'endpointPrefix beside perfTier'],
    [{ 'carbonado.io/endpoint0': '{"endpointPrefix":""}' }, 7, 'endpointPrefix ""'],
    [{ 'carbonado.io/endpoint1': '{"network":"blue"}' }, 7, 'endpoint1 is there without carbonado.io/endpoint0'],
    [{ 'carbonado.io/endpoint0': '{}', 'carbonado.io/endpoint2': '{}' }, 7, 'endpoint2 is there without'],
    [{ 'carbonado.io/endpoint0': '{}', 'carbonado.io/endpoint17': '{}' }, 7, 'at most 16 interfaces'],
    [{ 'carbonado.io/endpoint9999999999999999999999': '{}' }, 7, 'at most 16 interfaces'],
    [{ 'carbonado.io/endpoint00': '{}' }, 2, 'endpoint00 is not known'],
    [{ 'carbonado.io/endpoint-1': '{}' }, 2, 'endpoint-1 is not known'],
    [{ 'carbonado.io/endpoint0': '{}', 'diamanti.com/endpoint1': 'x' }, 7, 'endpoint1 is not JSON'],
    [{ 'carbonado.io/endpoint': 'none', 'diamanti.com/endpoint1': '{}' }, 7, 'endpoint1 is there without'],
    [two({ endpointId: 'e' }, { endpointId: 'e' }), 7, 'both ask for the static endpoint e'],
    [two({ endpointId: 'web-0' }, { endpointPrefix: 'web' }), 7, 'both ask for the static endpoint web-0'],
    [two({ network: 'a', metric: 20 }, { network: 'b', metric: 20 }), 7, 'both have the metric 20'],
    [two({ network: 'a', metric: 101 }, { network: 'b' }), 7, 'both have the metric 101'],
    [{ 'carbonado.io/endpoint0': '{"metric":-1}' }, 7, 'metric -1'],
    [{ 'carbonado.io/endpoint0': '{"metric":0}' }, 7, 'metric 0'],
    [{ 'carbonado.io/endpoint0': '{"metric":"20"}' }, 7, 'metric "20"'],
    [{ 'carbonado.io/endpoint0': '{"metric":1.5}' }, 7, 'metric 1.5'],
    [{ 'carbonado.io/endpoint0': '{"metric":1e300}' }, 7, 'metric 1e+300'],
    [{ 'carbonado.io/endpoint0': '{"metric":null}' }, 7, 'metric null'],
    [{ 'carbonado.io/endpont0': '{}', 'carbonado.io/endpointX': '{}' }, 2, 'endpointX'],
    [{ 'carbonado.io/endpoint': 'some' }, 7, 'expected "none"'],
    [{ 'carbonado.io/endpoint': 'none', 'carbonado.io/endpoint0': '{}' }, 7, 'contradict'],
    [{ 'carbonado.io/endpoint0': '{}', 'diamanti.com/endpoint0': '{"network":"b"}' }, 7, 'different things'],
  ])('%j is refused', async (annotations, code, text) => {
    const { output } = await call({}, annotated(annotations as Record<string, string>))
    expect(output!.code).toBe(code)
    expect(output!.msg).toContain(text)
  })
})

describe('errors', () => {
  test('are mapped once, and say what to do', () => {
    expect(toCniError(new Exhausted('no free address', { remedy: 'Extend the range.' }), '1.0.0')).toEqual({
      cniVersion: '1.0.0',
      code: 102,
      msg: 'no free address',
      details: 'Extend the range.',
    })
    expect(toCniError(new Unavailable('control is away'), '1.0.0').code).toBe(11)
    expect(toCniError(new Internal('oops'), '1.0.0').code).toBe(100)
    expect(toCniError(new Error('oops'), '1.0.0').code).toBe(100)
  })

  test('of an operation become an answer', async () => {
    const failing = createCniHandler({ ...operations, add: () => Promise.reject(new Error('boom')) }, silentLogger())
    const reply = await failing(
      new Map(Object.entries(goodEnvironment)),
      Buffer.from(JSON.stringify(goodConfiguration)),
    )
    expect(reply.exitCode).toBe(1)
    expect(JSON.parse(reply.output)).toMatchObject({ code: 100, msg: 'boom', cniVersion: '1.1.0' })
  })
})

describe('hostile input', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom(...Object.values(goodEnvironment), ...supportedVersions, 'CHECK', 'DEL', 'GC', 'STATUS', 'VERSION'),
  )
  const environment = fc.dictionary(fc.constantFrom(...Object.keys(goodEnvironment), 'CNI_PATH'), text)
  const fields = fc.constantFrom(
    ...['cniVersion', 'name', 'type', 'network', 'perfTier', 'runtimeConfig', 'prevResult', 'dns', 'ipam'],
    ...['cni.dev/valid-attachments', '__proto__', 'constructor', 'args'],
  )
  const value = fc.oneof(
    text,
    fc.jsonValue({ maxDepth: 4 }),
    fc.record({
      [annotationsCapability]: fc.dictionary(
        fc.constantFrom('carbonado.io/endpoint0', 'diamanti.com/endpoint0', 'carbonado.io/endpoint', '__proto__'),
        fc.oneof(text, fc.json()),
      ),
    }),
  )
  const configuration = fc
    .tuple(fc.boolean(), fc.dictionary(fields, value))
    .map(([isBased, changes]) => ({ ...(isBased ? goodConfiguration : {}), ...changes }))

  test('throws nothing but CarbonadoErrors with a code of CNI', () => {
    fc.assert(
      fc.property(environment, configuration, (variables, decoded) => {
        try {
          parseRequest(new Map(Object.entries({ ...goodEnvironment, ...variables })), decoded)
        } catch (error) {
          expect(error).toBeInstanceOf(CarbonadoError)
          expect(toCniError(error, '1.0.0').code).toBeLessThan(12)
        }
      }),
      { numRuns: 5_000 },
    )
  })

  test('of any bytes is decoded or refused with code 6', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((json) => Buffer.from(json)),
        ),
        (input) => {
          try {
            expect(typeof decodeInput(input)).toBe('object')
          } catch (error) {
            expect(toCniError(error, '1.0.0').code).toBe(6)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test('of great depth and size is answered', async () => {
    const depth = 100_000
    const nested = `${'['.repeat(depth)}${']'.repeat(depth)}`
    for (const field of ['prevResult', 'args', 'dns', 'network', 'other']) {
      const { exitCode } = await call({}, `{"cniVersion":"1.1.0","name":"cluster","${field}":${nested}}`)
      expect(exitCode).toBe(field === 'args' ? 0 : 1)
    }
    const large = { ...goodConfiguration, args: { filler: 'x'.repeat(1_000_000) } }
    expect((await call({}, large)).exitCode).toBe(0)
  })
})
