import { programLog } from '../../lab/machines.ts'
import { lastLines } from '../../lab/processes.ts'
import { isProgramRunning } from '../../lab/programs.ts'

/** Fails, with what it said last, when a program of the lab has ended: who kills it next would not notice. */
export function expectRunning(program: string): void {
  if (isProgramRunning(program)) return
  throw new Error(`${program} has ended; it said last:\n${lastLines(programLog(program), 20)}`)
}
