import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { csiDescriptor, csiDescriptorFile } from '../../../deploy/generate/csi-descriptor.ts'

test('the generated descriptor is that of csi.proto (else run: node deploy/generate/main.ts)', () => {
  expect(readFileSync(csiDescriptorFile, 'utf8')).toBe(csiDescriptor())
})
