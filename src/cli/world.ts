import { createInterface } from 'node:readline/promises'
import type { ResourceStore } from '../store/index.ts'
import type { Connection } from './connection.ts'

/** What dctl sees of the outside: environment, terminal, clock and network. Tests bring their own. */
export interface World {
  environment: Record<string, string | undefined>
  /** Standard output and standard error, text as it is. */
  write(text: string): void
  writeError(text: string): void
  /** Asks at the terminal; absent when there is none. */
  ask?: (question: string) => Promise<string>
  /** All of standard input. */
  readInput(): Promise<string>
  now(): Date
  connect(connection: Connection): Promise<ControlClient>
}

/** A connection to control. */
export interface ControlClient {
  store: ResourceStore
  /** GETs a path below the server's root and parses the JSON it answers. Throws CarbonadoErrors. */
  getJson<T>(path: string, headers?: Record<string, string>): Promise<T>
  /** Sends JSON to a path below the server's root and parses the answer. Throws CarbonadoErrors. */
  request<T>(method: 'POST' | 'DELETE', path: string, body?: object, headers?: Record<string, string>): Promise<T>
  close(): Promise<void>
}

/** The world of this process. */
export function processWorld(): World {
  const isTerminal = Boolean(process.stdin.isTTY && process.stderr.isTTY)
  return {
    environment: process.env,
    write: (text) => void process.stdout.write(text),
    writeError: (text) => void process.stderr.write(text),
    ask: isTerminal ? askAtTerminal : undefined,
    readInput: readStandardInput,
    now: () => new Date(),
    connect: async (connection) => (await import('./control-client.ts')).connectToControl(connection),
  }
}

async function askAtTerminal(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const ended = new Promise<string>((resolve) => terminal.once('close', () => resolve('no')))
  try {
    return await Promise.race([terminal.question(question), ended])
  } finally {
    terminal.close()
  }
}

async function readStandardInput(): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of process.stdin) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}
