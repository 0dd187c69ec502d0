import type { Random } from './random.ts'

/** A request as bytes, and how its answer is framed. */
export interface MalformedRequest {
  bytes: Buffer
  isHead: boolean
  /** Whether its end cannot be told: it must be the last of its connection, and may remain unanswered. */
  isEndless: boolean
}

const kinds = ['perftiers', 'networks', 'nodes', 'addressclaims', 'macclaims']
const namespaced = ['endpoints']
const methods = ['GET', 'GET', 'POST', 'POST', 'PUT', 'PATCH', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'get', 'BREW', 'G\0T', ''] // prettier-ignore
const contentTypes = ['application/json', 'application/json', 'application/merge-patch+json', 'application/merge-patch+json', 'application/json; charset=utf-16', 'text/plain', 'application/strategic-merge-patch+json', '', 'a/b; c="'] // prettier-ignore
const hostileKeys = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '', 'metadata', '\u0000', 'a'.repeat(300)] // prettier-ignore
const hostileNames = ['a', 'b', 'c', '..', '.', '%2e%2e', '%00', '%ff', '%', '%zz', '__proto__', 'constructor', 'A', '-', 'a'.repeat(254), 'a'.repeat(3_000), 'ä', '%F0%9F%92%A9', 'a/../../b', '*', ' '] // prettier-ignore
const selectors = ['a=b', 'a in (b,c)', '!a', '=', 'a==', 'in in in', 'a=b,'.repeat(500), '(((', 'metadata.name=a', '__proto__=x', '%', '\u0000', 'spec.nodeName!=', 'a notin ()'] // prettier-ignore

/** Makes requests to control that are wrong in all sorts of ways, among them some that are right. */
export class MalformedRequests {
  readonly #random: Random
  readonly #token: string

  constructor(random: Random, token: string) {
    this.#random = random
    this.#token = token
  }

  next(): MalformedRequest {
    const random = this.#random
    if (random.chance(0.1)) return this.#right()
    const method = random.pick(methods)
    const body = ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method) || random.chance(0.05) ? this.#body() : undefined
    const strange = this.#strangeHeaders()
    const headers = [`Host: x`, ...this.#authorization(), ...strange]
    const target = this.#target()
    if (body && random.chance(0.93)) headers.push(`Content-Type: ${random.pick(contentTypes)}`)
    const isChunked = body !== undefined && random.chance(0.1)
    if (isChunked) headers.push('Transfer-Encoding: chunked')
    else if (body) headers.push(`Content-Length: ${body.length}`)
    const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`, 'latin1')
    const bytes = Buffer.concat([head, ...(body ? [isChunked ? this.#chunked(body) : body] : [])])
    const isGarbled = random.chance(0.01)
    return {
      bytes: isGarbled ? this.#garbled(bytes) : bytes,
      isHead: method === 'HEAD',
      isEndless: isGarbled || isChunked || strange.length > 0 || (body?.length ?? 0) > 100_000, // refused before it was read
    }
  }

  /** A request that could be meant, so that the store changes all the while. */
  #right(): MalformedRequest {
    const random = this.#random
    const method = random.pick(['POST', 'PATCH', 'DELETE', 'GET'])
    const path = `/apis/carbonado.io/v1alpha1/perftiers${method === 'POST' ? '' : `/${random.pick(['a', 'b', 'c'])}`}`
    const text = ['POST', 'PATCH'].includes(method) ? JSON.stringify(this.#tier()).replace('"spec"', random.chance(0.2) ? '"__proto__":{"polluted":true},"spec"' : '"spec"') : '' // prettier-ignore
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${this.#token}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n` // prettier-ignore
    return { bytes: Buffer.from(head + text), isHead: false, isEndless: false }
  }

  #authorization(): string[] {
    if (this.#random.chance(0.95)) return [`Authorization: Bearer ${this.#token}`]
    return [[], ['Authorization: Bearer'], ['Authorization: Basic YTpi'], [`Authorization: Bearer ${'x'.repeat(5_000)}`], ['Authorization: Bearer wrong-token']][this.#random.below(5)]! // prettier-ignore
  }

  #strangeHeaders(): string[] {
    const random = this.#random
    if (random.chance(0.95)) return []
    return [[`X: ${'y'.repeat(20_000)}`], ['Content-Length: 5', 'Content-Length: 7'], ['Expect: 100-continue'], ['Expect: the-unexpected'], ['Connection: close'], ['Upgrade: websocket', 'Connection: upgrade'], ['Transfer-Encoding: gzip'], ['Content-Length: -1'], ['no colon'], ['X\0: 1']][random.below(10)]! // prettier-ignore
  }

  #target(): string {
    const random = this.#random
    if (random.chance(0.05)) return random.pick(['/', '*', '//', '/apis', '/apis/', '/healthz/x', '/metrics/..', 'http://other/', '/%', `/${'x'.repeat(9_000)}`, '/apis/carbonado.io/v2/networks', '/api/v1/pods', '']) // prettier-ignore
    const name = (): string => random.pick(hostileNames)
    const root = '/apis/carbonado.io/v1alpha1'
    const collection = random.chance(0.3)
      ? `${root}/namespaces/${random.chance(0.5) ? 'default' : name()}/${random.pick(namespaced)}`
      : `${root}/${random.pick(['perftiers', 'perftiers', 'perftiers', ...kinds, ...namespaced])}`
    const object = random.chance(0.6) ? `/${random.chance(0.3) ? 'a' : name()}` : ''
    const rest = random.chance(0.1) ? random.pick(['/status', '/status/', '/scale', '/status/x', '/..']) : ''
    return `${collection}${object}${rest}${this.#query()}`
  }

  #query(): string {
    const random = this.#random
    if (random.chance(0.7)) return ''
    const parameter = (): string => {
      const value = random.pick([...selectors, '-1', '1e9', '0', 'NaN', '99999999999999999999', 'true', ''])
      const key = random.pick(['labelSelector', 'fieldSelector', 'limit', 'continue', 'resourceVersion', 'dryRun', 'timeoutSeconds', 'pretty', '__proto__']) // prettier-ignore
      return `${key}=${random.chance(0.8) ? encodeURIComponent(value) : value.replaceAll(/[\s\0]/g, '+')}`
    }
    return `?${Array.from({ length: 1 + random.below(3) }, parameter).join('&')}`
  }

  #body(): Buffer {
    const random = this.#random
    const kind = random.below(100)
    if (kind < 2) return Buffer.from(random.pick(['', ' ', '{', '[', 'null', '1', '"x"', '[]', '{}', 'nul', '{"a":1,}', "{'a':1}", '\ufeff{}', '1e999', '[1e400]', '{"a":1}{"b":2}'])) // prettier-ignore
    if (kind < 3) return Buffer.from(`${'{"a":'.repeat(random.pick([60, 70, 5_000]))}1`)
    if (kind < 4) return Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])
    if (kind === 4 && random.chance(0.02)) return Buffer.alloc(1_200_000, 0x20)
    const text = JSON.stringify(kind < 30 ? this.#tier() : this.#object())
    const hostile = random.chance(0.1) ? text.replace('{', `{"${random.pick(['__proto__', 'constructor'])}":{"polluted":true},`) : text // prettier-ignore
    const bytes = Buffer.from(hostile)
    return random.chance(0.1) ? this.#garbled(bytes) : bytes
  }

  /** One that is right, at the right path, or nearly so. */
  #tier(): unknown {
    const random = this.#random
    const spec = { storageIops: random.below(5), ...(random.chance(0.3) ? this.#some('spec') : {}) }
    const annotations = random.chance(0.3) ? { [random.pick(hostileKeys)]: this.#value(1) } : {}
    return random.chance(0.5) ? { spec } : { metadata: { name: random.pick(['a', 'b', 'c']), annotations }, spec }
  }

  #object(): unknown {
    const random = this.#random
    const name = random.chance(0.7) ? random.pick(['a', 'b', 'c', 'd']) : random.pick(hostileNames)
    const object = {
      apiVersion: random.chance(0.8) ? 'carbonado.io/v1alpha1' : this.#value(1),
      kind: random.chance(0.8) ? random.pick(['PerfTier', 'Network', 'Endpoint', 'Node']) : this.#value(1),
      metadata: random.chance(0.9) ? { name, namespace: random.pick([undefined, 'default', 'x', 7]), ...this.#some('metadata') } : this.#value(2), // prettier-ignore
      spec: random.chance(0.8) ? this.#some('spec') : this.#value(3),
      ...(random.chance(0.2) ? { status: this.#value(3) } : {}),
    }
    return object
  }

  #some(of: 'metadata' | 'spec'): object {
    const random = this.#random
    const fields =
      of === 'metadata'
        ? ['labels', 'annotations', 'finalizers', 'resourceVersion', 'uid', 'generation', 'creationTimestamp', 'deletionTimestamp', 'ownerReferences'] // prettier-ignore
        : ['subnets', 'vlan', 'networkBandwidth', 'maxNetworkBandwidth', 'networkName', 'nodeName', 'uplinks', 'plane', 'storageIops', 'addresses', 'macAddress', 'isStatic', 'holder', 'l2Domain', 'endpoint'] // prettier-ignore
    return Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(fields), this.#value(3)]))
  }

  #value(depth: number): unknown {
    const random = this.#random
    const leaf = random.pick([null, true, false, 0, -1, 1.5, 1e308, 2 ** 53, '', 'x', '10.30.0.0/24', '1G', '-5M', '\ud800', 'x'.repeat(100)]) // prettier-ignore
    if (depth === 0 || random.chance(0.5)) return leaf
    if (random.chance(0.4)) return Array.from({ length: random.below(4) }, () => this.#value(depth - 1))
    return Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(hostileKeys), this.#value(depth - 1)])) // prettier-ignore
  }

  #chunked(body: Buffer): Buffer {
    const half = Math.floor(body.length / 2)
    const size = this.#random.chance(0.9)
      ? half.toString(16)
      : this.#random.pick(['zz', '-1', 'ffffffffffffffffff', ''])
    const [one, two] = [body.subarray(0, half), body.subarray(half)]
    const chunk = (text: string, part: Buffer): Buffer => Buffer.concat([Buffer.from(`${text}\r\n`), part, Buffer.from('\r\n')]) // prettier-ignore
    const first = half > 0 ? [chunk(size, one)] : []
    const second = two.length > 0 ? [chunk(two.length.toString(16), two)] : []
    return Buffer.concat([...first, ...second, Buffer.from('0\r\n\r\n')])
  }

  #garbled(bytes: Buffer): Buffer {
    const garbled = Buffer.from(bytes)
    for (let changes = 1 + this.#random.below(4); changes > 0 && garbled.length > 0; changes--) {
      garbled[this.#random.below(garbled.length)] = this.#random.below(256)
    }
    return garbled
  }
}
