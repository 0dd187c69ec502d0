import { Type, type Static } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { namePattern } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'

const closed = { additionalProperties: false }

/** Most limits in one message: more receivers than a node has interfaces. */
const mostLimits = 4096

/** What a receiving agent asks of a sending one: all limits for it, until further notice or the end of the lease. */
export const ReceiveLimits = Type.Object(
  {
    receivingNode: Type.String({ pattern: namePattern, maxLength: 253 }),
    /** Grows with every message of a receiving node; an older one that comes late is refused. */
    sequence: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    /** Milliseconds for which the limits hold without another message. */
    lease: Type.Integer({ minimum: 100, maximum: 60_000 }),
    limits: Type.Array(
      Type.Object(
        {
          macAddress: Type.String({ pattern: '^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$' }),
          vlan: Type.Integer({ minimum: 0, maximum: 4094 }),
          /** Wire bits per second. */
          rate: Type.Integer({ minimum: 8000, maximum: 10_000_000_000_000 }),
        },
        closed,
      ),
      { maxItems: mostLimits },
    ),
  },
  closed,
)
export type ReceiveLimits = Static<typeof ReceiveLimits>

const Uses = Type.Object({
  uses: Type.Array(Type.Object({ passedBytes: Type.Number(), droppedBytes: Type.Number() }), { maxItems: mostLimits }),
})
/** The answer: for each limit, in order, what became of the frames, in wire bytes since it was first set. */
export type LimitUses = Static<typeof Uses>

const checkLimits = TypeCompiler.Compile(ReceiveLimits)
const checkUses = TypeCompiler.Compile(Uses)

/** Reads a message. Throws InvalidInput naming what is wrong. */
export function parseReceiveLimits(value: unknown): ReceiveLimits {
  if (checkLimits.Check(value)) return value
  const problem = checkLimits.Errors(value).First()
  throw new InvalidInput(`the limits are not valid: ${problem?.path ?? ''} ${problem?.message ?? ''}`, {
    remedy: 'Send {"receivingNode", "sequence", "lease", "limits": [{"macAddress", "vlan", "rate"}]}.',
  })
}

/** Reads an answer for so many limits. Throws InvalidInput. */
export function parseLimitUses(value: unknown, count: number): LimitUses {
  if (checkUses.Check(value) && value.uses.length === count) return value
  throw new InvalidInput(`the answer to ${count} limits is not a list of ${count} uses`, {
    remedy: 'Run the same version of the agent on all nodes.',
  })
}
