import { globSync } from 'node:fs'
import { describeGuest } from '../guest/describe-guest.ts'

await describeGuest(globSync(`${import.meta.dirname}/../guest/long/*.guest.ts`), { deadline: 1_500_000 })
