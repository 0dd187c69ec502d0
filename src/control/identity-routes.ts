import { randomBytes } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { carbonadoGroup, namePattern } from '../api/index.ts'
import { InvalidInput, type Logger } from '../base/index.ts'
import { refuseDryRun } from './query.ts'
import { bodyObject, demandContentType } from './request-body.ts'
import { demandAdministrator } from './roles.ts'
import type { IssuedEntry, IssuedTokens, TokenRequest } from './issued-tokens.ts'
import { callerFields, callerProblem, type Caller, type KnownToken } from './tokens.ts'

/** What the routes work with: the issued tokens, and those of the tokens file as they are now. */
export interface IdentityParts {
  issued: IssuedTokens
  fileTokens: () => Iterable<KnownToken>
  /** Called when a token has been deleted. */
  onRevoked: () => void
  logger: Logger
}

const apiVersion = `${carbonadoGroup.group}/${carbonadoGroup.version}`
const path = `/apis/${apiVersion}/tokens`
/** Seconds: ten years. */
const longestLifetime = 10 * 365 * 86_400

const TokenBody = Type.Object(
  {
    apiVersion: Type.Optional(Type.Literal(apiVersion)),
    kind: Type.Optional(Type.Literal('Token')),
    metadata: Type.Optional(
      Type.Object(
        { name: Type.Optional(Type.String({ pattern: namePattern, maxLength: 253 })) },
        { additionalProperties: false },
      ),
    ),
    spec: Type.Object(
      {
        ...callerFields,
        user: Type.Optional(callerFields.user),
        /** Seconds. */
        expirationSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: longestLifetime })),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
)

/** Serves who the caller is, as kube-apiserver does, and to administrators the tokens. */
export function addIdentityRoutes(app: FastifyInstance, parts: IdentityParts): void {
  app.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', async (request, reply) => {
    reply.code(201)
    return reviewOf(request.caller!)
  })
  const administrator = async (request: FastifyRequest): Promise<void> => {
    demandAdministrator(request.caller!, 'manage tokens')
  }
  app.get(path, { onRequest: administrator }, async () => tokenList(parts))
  app.post(path, { onRequest: administrator }, async (request, reply) => {
    demandContentType(request, 'application/json')
    refuseDryRun(request)
    const { entry, token } = parts.issued.create(tokenRequest(bodyObject(request)))
    parts.logger.notice({ by: request.caller!.user, ...withoutHash(entry) }, 'a token was made')
    reply.code(201)
    return tokenObject(entry, token)
  })
  app.delete(`${path}/:name`, { onRequest: administrator }, async (request) => {
    refuseDryRun(request)
    const entry = parts.issued.delete((request.params as { name: string }).name)
    parts.onRevoked()
    parts.logger.notice({ by: request.caller!.user, ...withoutHash(entry) }, 'a token was deleted')
    return tokenObject(entry)
  })
}

/** SelfSubjectReview of authentication.k8s.io/v1; the role is a group and, as it stands, in `extra`. */
function reviewOf({ user, role, nodeName }: Caller): object {
  const extra = { 'carbonado.io/role': [role], ...(nodeName === undefined ? {} : { 'carbonado.io/node': [nodeName] }) }
  return {
    kind: 'SelfSubjectReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z') },
    status: { userInfo: { username: user, groups: [`carbonado.io:${role}`, 'system:authenticated'], extra } },
  }
}

/** What a request body asks for. Throws InvalidInput that names what is wrong. */
export function tokenRequest(body: unknown): TokenRequest {
  if (!Value.Check(TokenBody, body)) {
    const problems = [...Value.Errors(TokenBody, body)].slice(0, 5)
    const text = problems.map((problem) => `${problem.path.slice(1).replaceAll('/', '.') || 'it'}: ${problem.message}`)
    throw new InvalidInput(`Token is not valid: ${text.join('; ')}`, { remedy: 'Correct the named fields.' })
  }
  const { role, nodeName, user, expirationSeconds } = body.spec
  const problem = callerProblem(body.spec)
  if (problem !== undefined) throw new InvalidInput(`Token is not valid: ${problem}`, { remedy: 'Correct spec.' })
  const own = user ?? (role === 'agent' ? `system:node:${nodeName}` : role)
  return {
    name: body.metadata?.name ?? `${nodeName ?? role}-${randomBytes(4).toString('hex')}`,
    user: own,
    role,
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(expirationSeconds === undefined ? {} : { lifetime: expirationSeconds }),
  }
}

function tokenList({ issued, fileTokens }: IdentityParts): object {
  const fromFile = [...fileTokens()].map(({ caller }) => ({
    ...typed({ name: caller.user }),
    spec: caller,
    status: { source: 'file' },
  }))
  return {
    kind: 'TokenList',
    apiVersion,
    metadata: {},
    items: [...issued.list().map((entry) => tokenObject(entry)), ...fromFile],
  }
}

function tokenObject({ name, created, expires, user, role, nodeName }: IssuedEntry, token?: string): object {
  return {
    ...typed({ name, creationTimestamp: created }),
    spec: { user, role, ...(nodeName === undefined ? {} : { nodeName }) },
    status: {
      source: 'issued',
      ...(expires === undefined ? {} : { expirationTimestamp: expires }),
      ...(token === undefined ? {} : { token }),
    },
  }
}

function typed(metadata: object): object {
  return { kind: 'Token', apiVersion, metadata }
}

function withoutHash({ hash: _hash, ...rest }: IssuedEntry): object {
  return rest
}
