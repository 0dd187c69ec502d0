import { writeFileSync } from 'node:fs'
import { it } from 'vitest'

it('is done before the machine crashes', () => {})
it('crashes the machine', () => writeFileSync('/proc/sysrq-trigger', 'c'))
