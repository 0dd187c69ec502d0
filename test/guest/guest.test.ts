import { globSync } from 'node:fs'
import { describeGuest } from './describe-guest.ts'

await describeGuest(globSync(`${import.meta.dirname}/*.guest.ts`), { deadline: 900_000 })
