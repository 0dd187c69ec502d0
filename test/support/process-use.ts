import { readdirSync, readFileSync } from 'node:fs'

/** What a process holds. */
export interface ProcessUse {
  kilobytes: number
  descriptors: number
}

/** Resident memory and open files of a process. */
export function useOf(pid: number): ProcessUse {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    kilobytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  }
}
