import pino from 'pino'

/**
 * Levels by audience: `notice` for the operator, `warn` for one operation that went wrong,
 * `error` for a subsystem that does not work, `debug` for developers. One JSON line each, no secrets.
 */
export type Logger = pino.Logger<'notice'>

/** Makes the root logger of a program; it writes to standard error so that standard output stays data. */
export function createLogger(program: string, level = process.env.CARBONADO_LOG_LEVEL ?? 'notice'): Logger {
  return pino(
    {
      name: program,
      level,
      customLevels: { notice: 35 },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      base: { name: program },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return createLogger('silent', 'silent')
}
