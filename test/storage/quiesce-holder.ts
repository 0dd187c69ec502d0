import { closeSync, openSync } from 'node:fs'
import { freeze } from '../../src/storage/agent/quiesce/freeze-watchdog.ts'

// Freezes the filesystem at a path, says so, and never thaws it: to be killed.
const folder = openSync(process.argv[2]!, 'r')
await freeze([folder], 30_000)
closeSync(folder)
console.log('frozen')
setInterval(() => {}, 1000)
