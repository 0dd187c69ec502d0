import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { invalidConfiguration, InvalidInput, readJsonFile } from '../base/index.ts'

const exact = { additionalProperties: false }

/** Configuration of control, as it stands in the file named by `--config`. Paths are absolute or from where it runs. */
export const ControlConfig = Type.Object(
  {
    /** Folder of the store; made when missing. */
    dataDirectory: Type.String({ minLength: 1 }),
    /** Addresses to serve: TCP with TLS, or a unix socket that only root may open. */
    listen: Type.Array(
      Type.Union([
        Type.Object({ host: Type.String({ minLength: 1 }), port: Type.Integer({ minimum: 0, maximum: 65535 }) }, exact),
        Type.Object({ socketPath: Type.String({ minLength: 1 }) }, exact),
      ]),
      { minItems: 1 },
    ),
    /** Server certificate, needed for every TCP address. */
    tls: Type.Optional(
      Type.Object({ certificateFile: Type.String({ minLength: 1 }), keyFile: Type.String({ minLength: 1 }) }, exact),
    ),
    /** Who may do what: `[{token, user, role}]`. */
    tokensFile: Type.String({ minLength: 1 }),
    /** Authorities that agents' certificates are checked against when requests are passed on to them. */
    agentCaFile: Type.Optional(Type.String({ minLength: 1 })),
    /** Token that control shows to agents. */
    agentTokenFile: Type.Optional(Type.String({ minLength: 1 })),
    /** Largest request body in bytes. */
    bodyLimit: Type.Integer({ minimum: 1024, maximum: 64 * 1024 * 1024, default: 1024 * 1024 }),
    /** Changes that are remembered for watches that resume. */
    changeLogLimit: Type.Integer({ minimum: 10, maximum: 10_000_000, default: 50_000 }),
    /** Whether writes are on the disk before any client learns of them. */
    syncEveryWrite: Type.Boolean({ default: true }),
    /** Hours until events are removed. */
    eventRetentionHours: Type.Integer({ minimum: 1, maximum: 24 * 365, default: 24 * 7 }),
  },
  exact,
)
export type ControlConfig = Readonly<Static<typeof ControlConfig>>

/** Checks a configuration and fills in defaults. Frozen. Throws InvalidInput that names what is wrong. */
export function checkConfig(input: unknown, source: string): ControlConfig {
  const config = Value.Default(ControlConfig, Value.Clone(input))
  if (!Value.Check(ControlConfig, config)) {
    throw invalidConfiguration(source, Value.Errors(ControlConfig, config), 'docs/control.md')
  }
  if (config.listen.some((address) => 'port' in address) && !config.tls) {
    throw new InvalidInput(`The configuration ${source} has a TCP address in "listen" but no "tls"`, {
      remedy: 'Add tls.certificateFile and tls.keyFile, or listen on a socketPath only.',
    })
  }
  return Object.freeze(config)
}

/** Reads the configuration file. Throws InvalidInput. */
export function readConfig(file: string): ControlConfig {
  return checkConfig(readJsonFile(file, 'configuration'), file)
}
