import pino from 'pino'
import { CarbonadoError } from './errors.ts'

/**
 * Levels by audience: `notice` for the operator, `warn` for one operation that went wrong,
 * `error` for a subsystem that does not work, `debug` for developers. One JSON line each, no secrets.
 */
export type Logger = pino.Logger<'notice'>

/** Bytes of the log that wait to be written; what comes while there are more is lost. */
const mostKept = 2 ** 20

/** Makes the root logger of a program; it writes to standard error so that standard output stays data. */
export function createLogger(program: string, level = process.env.CARBONADO_LOG_LEVEL ?? 'notice'): Logger {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: mostKept })
  destination.on('error', () => {}) // a log that cannot be written, such as to a full disk, does not end the program
  return pino(
    {
      name: program,
      level,
      customLevels: { notice: 35 },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorForLog },
      timestamp: pino.stdTimeFunctions.isoTime,
      base: { name: program },
    },
    destination,
  )
}

/**
 * An error as a line of the log has it: what can be expected, such as a server that does not answer, without its trace of
 * calls, which tells nothing more and, with a thousand objects waiting for that server, fills a disk.
 */
export function errorForLog(error: Error): object {
  if (!(error instanceof CarbonadoError) || error.code === 'Internal') return pino.stdSerializers.err(error)
  const { code, message, remedy, cause } = error
  return {
    code,
    message,
    ...(remedy === undefined ? {} : { remedy }),
    ...(cause instanceof Error ? { cause: cause.message } : {}),
  }
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return createLogger('silent', 'silent')
}
