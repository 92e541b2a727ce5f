/** The operators of conditions: each reads the values of a policy into a test of one value of a request. */
import { inRanges } from './address.ts'
import { glob } from './glob.ts'
import type { Placed } from './syntax.ts'

/** An operator without prefix and suffix, such as `StringLike`. */
export interface Operator {
  /** Compiles the values of a policy. */
  readonly compile: Compile
  /** Whether the operator holds where no value matches. */
  readonly negated: boolean
}

type Test = (value: string) => boolean

/** Reads the policy's values into a test of one value of a request. Throws `wrong` for a value that is not of the operator's kind. */
export type Compile = (values: readonly Placed[], wrong: (value: Placed) => Error) => Test

/** Reads all values of the policy now, and the request's value once for all of them. */
const readBoth =
  <Wanted, Given>(
    readWanted: (text: string) => Wanted | undefined,
    readGiven: (text: string) => Given | undefined,
    matches: (given: Given, wanted: Wanted) => boolean,
  ): Compile =>
  (values, wrong) => {
    const wanted = values.map(value => {
      const read = readWanted(value.text)
      if (read === undefined) throw wrong(value)
      return read
    })
    return value => {
      const given = readGiven(value)
      return given !== undefined && wanted.some(one => matches(given, one))
    }
  }

const equals: Compile = values => {
  const wanted = new Set(values.map(({ text }) => text))
  return value => wanted.has(value)
}

const equalsIgnoreCase: Compile = values => {
  const wanted = new Set(values.map(({ text }) => text.toLowerCase()))
  return value => wanted.has(value.toLowerCase())
}

const like: Compile = values => glob(values.map(({ text }) => text))

const readBool = (text: string): boolean | undefined => {
  const lower = text.toLowerCase()
  return lower === 'true' || lower === 'false' ? lower === 'true' : undefined
}

const readNumber = (text: string): number | undefined => (/^[+-]?\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined)

const isoDate = /^(\d{4}-\d\d-\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/

/** Milliseconds since 1970 of an ISO 8601 date in one of the forms of W3C's profile from the day on, or of seconds since 1970. */
const readDate = (text: string): number | undefined => {
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const day = isoDate.exec(text)?.[1]
  if (day === undefined) return undefined
  const millis = Date.parse(text)
  // Date.parse takes the 31st of every month.
  const dayExists = new Date(Date.parse(day)).toJSON()?.startsWith(day)
  return dayExists && !Number.isNaN(millis) ? millis : undefined
}

/** The six parts of an ARN; IAM's longest has 2,048 characters. */
const splitArn = (text: string): readonly string[] | undefined =>
  text.length > 2048 ? undefined : /^([^:]*):([^:]*):([^:]*):([^:]*):([^:]*):(.*)$/s.exec(text)?.slice(1)

/** Each part is matched by itself, so that no `*` reaches over a colon (but in the last part). */
const arnLike = readBoth(
  text => splitArn(text)?.map(part => glob([part])),
  splitArn,
  (parts, tests) => parts.every((part, i) => tests[i]?.(part)),
)

const pair = (name: string, negatedName: string, compile: Compile): readonly (readonly [string, Operator])[] => [
  [name, { compile, negated: false }],
  [negatedName, { compile, negated: true }],
]

const orders = (kind: string, read: (text: string) => number | undefined): readonly (readonly [string, Operator])[] => {
  const by = (compare: (given: number, wanted: number) => boolean): Compile => readBoth(read, read, compare)
  return [
    ...pair(
      `${kind}Equals`,
      `${kind}NotEquals`,
      by((given, wanted) => given === wanted),
    ),
    [`${kind}LessThan`, { compile: by((given, wanted) => given < wanted), negated: false }],
    [`${kind}LessThanEquals`, { compile: by((given, wanted) => given <= wanted), negated: false }],
    [`${kind}GreaterThan`, { compile: by((given, wanted) => given > wanted), negated: false }],
    [`${kind}GreaterThanEquals`, { compile: by((given, wanted) => given >= wanted), negated: false }],
  ]
}

/** `Bool`, and `Null`, which takes the same values. */
export const bool: Compile = readBoth(readBool, readBool, Object.is)

/** The operators by name; names are case-sensitive. */
export const operators: ReadonlyMap<string, Operator> = new Map([
  ...pair('StringEquals', 'StringNotEquals', equals),
  ...pair('StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase', equalsIgnoreCase),
  ...pair('StringLike', 'StringNotLike', like),
  ...orders('Numeric', readNumber),
  ...orders('Date', readDate),
  ['Bool', { compile: bool, negated: false }],
  ...pair('IpAddress', 'NotIpAddress', inRanges),
  ...pair('ArnEquals', 'ArnNotEquals', arnLike),
  ...pair('ArnLike', 'ArnNotLike', arnLike),
])
