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
import { isBroad } from './address.ts'
import { conditionKey } from './facts.ts'
import { bool, type Operator, operators } from './operators.ts'
import { asList, asObject, asText, type Json, malformed, type Placed, quote } from './syntax.ts'

/** One key under one operator. */
export interface Condition {
  /** As the policy writes it. */
  readonly operator: string
  /** Canonical and in lower case, for example `aws:sourceip`. */
  readonly key: string
  /** Whether it holds for the values that the request has for the key; none are `undefined` or an empty list. */
  readonly holds: (values: readonly string[] | undefined) => boolean
  /** Whether it holds only for addresses that are named, so that what it allows is not public. */
  readonly isNarrow: boolean
}

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

/** Of the keys that S3 takes for narrow if their values are fixed, this is the one that there is. */
const namesAddresses = (operator: string, key: string, values: readonly Placed[]): boolean =>
  key === 'aws:sourceip' &&
  /^(?:ForAnyValue:)?(?:IpAddress|StringEquals)$/.test(operator) &&
  values.every(({ text }) => !isBroad(text))

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
    return { operator, key, isNarrow: false, holds: (values = []) => wanted(String(values.length === 0)) }
  }
  const { compile, negated, set, ifExists } = parsed
  const matches = compile(values, wrong)
  return {
    operator,
    key,
    isNarrow: namesAddresses(operator, key, values),
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
