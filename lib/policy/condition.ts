/**
 * `Condition`: operator, key, values. Conditions of a statement must all hold; of the values of one key, one must match.
 *
 * | key in the request | `StringEquals` and its like | negated operators | `…IfExists` | `ForAllValues:` | `ForAnyValue:` |
 * | --- | --- | --- | --- | --- | --- |
 * | absent | does not hold | holds | holds | holds | does not hold |
 * | present | a value matches | no value matches | as without | every value does | a value does |
 *
 * `…IfExists` holds for an absent key after every prefix. A value of the request that is no number, date or address matches
 * nothing. Names of operators are case-sensitive, names of keys are not.
 */
import ipaddr from 'ipaddr.js'
import { conditionKey } from './facts.ts'
import { glob } from './glob.ts'
import { asList, asObject, asText, type Json, malformed, type Placed, quote } from './syntax.ts'

/** An address. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** All addresses that have their first `bits` bits in common with `base`. */
export interface AddressRange {
  /** Any address of the range. */
  readonly base: Address
  /** 0 to 32 or 128. */
  readonly bits: number
}

/** Longer than every address with a zone; keeps hostile texts away from the regular expressions behind. */
const maxLength = 64

/**
 * An address, or `undefined` where it is none. Strict: `ipaddr.js` alone would also take `10`, `012.1.1.1` and `0x1.2.3.4`, which other
 * programs read as other addresses.
 */
export const parseAddress = (text: string): Address | undefined => {
  if (text.length > maxLength) return undefined
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text)
  if (!text.includes(':') || !ipaddr.IPv6.isValid(text)) return undefined
  const address = ipaddr.IPv6.parse(text)
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address
}

/** A range: an address alone, or `address/bits`; `undefined` where it is none. */
export const parseCidr = (range: string): AddressRange | undefined => {
  const [text = '', bitsText, ...more] = range.split('/')
  const base = parseAddress(text)
  if (base === undefined || more.length > 0) return undefined
  const size = base.kind() === 'ipv4' ? 32 : 128
  if (bitsText === undefined) return { base, bits: size }
  // The bits of an IPv4 range in IPv6 dress could be meant either way.
  if (size === 32 && text.includes(':')) return undefined
  if (!/^(?:0|[1-9]\d{0,2})$/.test(bitsText) || Number(bitsText) > size) return undefined
  return { base, bits: Number(bitsText) }
}

/** Whether the address lies in the range. */
export const inRange = (address: Address, { base, bits }: AddressRange): boolean =>
  address.kind() === base.kind() && address.match(base, bits)

/** One key under one operator. */
export interface Condition {
  /** As the policy writes it. */
  readonly operator: string
  /** Canonical and in lower case, for example `aws:sourceip`. */
  readonly key: string
  /** Whether it holds for the values that the request has for the key; none are `undefined` or an empty list. */
  readonly holds: (values: readonly string[] | undefined) => boolean
}

type Test = (value: string) => boolean

/** Reads the policy's values into a test of one value of a request; throws `wrong` for a value that is not of the operator's kind. */
type Compile = (values: readonly Placed[], wrong: (value: Placed) => Error) => Test

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

interface Operator {
  readonly compile: Compile
  readonly negated: boolean
}

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

const bool = readBoth(readBool, readBool, Object.is)

const operators: ReadonlyMap<string, Operator> = new Map([
  ...pair('StringEquals', 'StringNotEquals', equals),
  ...pair('StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase', equalsIgnoreCase),
  ...pair('StringLike', 'StringNotLike', like),
  ...orders('Numeric', readNumber),
  ...orders('Date', readDate),
  ['Bool', { compile: bool, negated: false }],
  ...pair('IpAddress', 'NotIpAddress', readBoth(parseCidr, parseAddress, inRange)),
  ...pair('ArnEquals', 'ArnNotEquals', arnLike),
  ...pair('ArnLike', 'ArnNotLike', arnLike),
])

/** Values may be written as JSON strings, booleans or numbers. */
const valueTexts = (place: string, value: Json): readonly Placed[] =>
  asList(place, value).map(([place, item]) => ({
    place,
    text: typeof item === 'boolean' || typeof item === 'number' ? String(item) : asText(place, item),
  }))

interface ParsedOperator extends Operator {
  readonly set: string | undefined
  readonly ifExists: boolean
}

const parseOperator = (place: string, name: string): ParsedOperator | 'Null' => {
  if (name === 'Null') return name
  const [, set, base = '', ifExists] = /^(?:(ForAnyValue|ForAllValues):)?([A-Za-z]+?)(IfExists)?$/.exec(name) ?? []
  const operator = operators.get(base)
  if (!operator)
    throw malformed(
      place,
      `${quote(name)} is not a condition operator. Use one such as StringEquals, IpAddress or Null.`,
    )
  return { ...operator, set, ifExists: ifExists !== undefined }
}

const parseKey = (place: string, name: string): string => {
  const key = conditionKey(name)
  if (key === undefined)
    throw malformed(place, `${quote(name)} is not a condition key here. Use one such as s3:prefix or aws:SourceIp.`)
  return key
}

const parseOne = (
  operator: string,
  parsed: ParsedOperator | 'Null',
  key: string,
  values: readonly Placed[],
): Condition => {
  const wrong = ({ place, text }: Placed): Error =>
    malformed(place, `${quote(text)} is not a value for ${operator}. Correct it or use another operator.`)
  if (parsed === 'Null') {
    // `true` where the key must be absent, `false` where it must be there.
    const wanted = bool(values, wrong)
    return { operator, key, holds: (values = []) => wanted(String(values.length === 0)) }
  }
  const { compile, negated, set, ifExists } = parsed
  const matches = compile(values, wrong)
  return {
    operator,
    key,
    holds: (values = []) => {
      if (values.length === 0) return ifExists || set === 'ForAllValues' || (negated && set === undefined)
      if (set === 'ForAllValues') return values.every(value => matches(value) !== negated)
      if (set === 'ForAnyValue') return values.some(value => matches(value) !== negated)
      return values.some(matches) !== negated
    },
  }
}

/** Reads a Condition element; `check` is given every value first. Throws `SseError` MalformedPolicy. */
export const parseConditions = (place: string, value: Json, check: (value: Placed) => void): readonly Condition[] =>
  [...asObject(place, value)].flatMap(([operator, keys]) => {
    const parsed = parseOperator(place, operator)
    const members = asObject(`${place}.${operator}`, keys)
    if (members.size === 0) throw malformed(`${place}.${operator}`, 'the object is empty. Name a condition key.')
    return [...members].map(([name, value]) => {
      const key = parseKey(`${place}.${operator}`, name)
      const values = valueTexts(`${place}.${operator}.${name}`, value)
      values.forEach(check)
      return parseOne(operator, parsed, key, values)
    })
  })
