import { expect, test } from 'vitest'
import { checkConfig, readConfig } from './config.ts'

const good = {
  dataDirectory: '/var/lib/carbonado',
  listen: [{ host: '::', port: 7443 }, { socketPath: '/run/control.sock' }],
  tls: { certificateFile: 'a', keyFile: 'b' },
  tokensFile: 'c',
}

test('a good configuration gets defaults and is frozen', () => {
  const config = checkConfig(good, 'x')
  expect(config).toMatchObject({ ...good, bodyLimit: 1024 * 1024, changeLogLimit: 50_000 })
  expect(() => Object.assign(config, { dataDirectory: 'other' })).toThrow(TypeError)
})

test.each([
  ['an unknown key', { ...good, dataDir: 'x' }, /dataDir/],
  ['an unknown key within', { ...good, tls: { ...good.tls, ca: 'x' } }, /tls.ca/],
  ['a missing key', { ...good, tokensFile: undefined }, /tokensFile/],
  ['a wrong port', { ...good, listen: [{ host: 'a', port: 70_000 }] }, /listen.0/],
  ['nothing to listen on', { ...good, listen: [] }, /listen/],
  ['TCP without TLS', { ...good, tls: undefined }, /"tls"/],
  ['no object', [], /not valid/],
])('%s is refused', (_what, config, message) => {
  const attempt = (): unknown => checkConfig(config, 'x')
  expect(attempt).toThrow(expect.objectContaining({ code: 'InvalidInput', message: expect.stringMatching(message) }))
})

test('a file that is missing or not JSON is refused by name', () => {
  expect(() => readConfig('/nonexistent.json')).toThrow(/nonexistent.json/)
  expect(() => readConfig(import.meta.filename)).toThrow(/is not JSON/)
})
