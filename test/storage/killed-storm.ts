import { spawn } from 'node:child_process'
import { expect } from 'vitest'
import type { PoolFormat } from '../../src/storage/pool-format.ts'
import { applyStep, poolModel, type StormModel, type StormStep } from './pool-storm.ts'

interface StormLine {
  ready?: true
  step?: StormStep
  done?: true
}

/**
 * Runs a storm in a process of its own, kills it with -9 at a random moment after it is ready, opens the pool and
 * compares what it holds with what the storm had done: its last step is done or not, never half.
 */
export async function killedStorm(format: PoolFormat, device: string, command: [string, ...string[]], longest: number): Promise<void> {
  const before = await modelOf(format, device)
  const lines = await runAndKill([...command, device], longest)
  const steps = lines.flatMap(({ step }) => (step ? [step] : []))
  const done = lines.filter((line) => line.done).length
  const certain = steps.slice(0, done).reduce(applyStep, before)
  const possible = steps.length > done ? [certain, applyStep(certain, steps.at(-1)!)] : [certain]
  const after = await modelOf(format, device)
  expect(possible.map(asText), `after ${JSON.stringify(steps.at(-1))}`).toContain(asText(after))
} // prettier-ignore

async function modelOf(format: PoolFormat, device: string): Promise<StormModel> {
  const pool = await format.open(device)
  for (const { id } of await pool.active()) await pool.deactivate(id)
  const model = await poolModel(pool)
  await pool.close()
  return model
}

function asText(model: StormModel): string {
  return JSON.stringify([...model].sort(([one], [other]) => one.localeCompare(other)), null, 1)
} // prettier-ignore

function runAndKill([file, ...args]: string[], longest: number): Promise<StormLine[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let [said, complaints] = ['', '']
    let timer: NodeJS.Timeout | undefined
    child.stdout.on('data', (part: Buffer) => {
      said += part.toString()
      if (said.includes('ready')) timer ??= setTimeout(() => child.kill('SIGKILL'), Math.random() * longest)
    })
    child.stderr.on('data', (part: Buffer) => (complaints += part.toString()))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (signal !== 'SIGKILL') return reject(new Error(`the storm ended with ${code}: ${complaints.slice(-3000)}`))
      const whole = said.slice(0, said.lastIndexOf('\n') + 1).split('\n').filter(Boolean) // prettier-ignore
      const result = whole.map((line) => JSON.parse(line) as StormLine)
      void groupEnd(child.pid!).then(() => resolve(result), reject)
    })
  })
}

/** A program that the storm had started goes on without it; what it does belongs to the last step. */
async function groupEnd(group: number): Promise<void> {
  for (let attempt = 0; attempt < 6000; attempt++) {
    try {
      process.kill(-group, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`programs that the storm ${group} had started are still there`)
}
