/**
 * Strict JSON for policy documents of some kilobytes, where `JSON.parse` is not strict enough. A name that stands twice in an object is refused,
 * since the later one would replace, say, the condition of a Deny without a word. Nesting and strings are bounded. Objects come as Maps, so
 * that no member name (`__proto__`) has a meaning.
 */
import { SseError } from '../errors.ts'

/** The error of everything that is wrong in a policy: `place` says where, `message` what, and what to write instead. */
export const malformed = (place: string, message: string): SseError =>
  new SseError('MalformedPolicy', { message: `${place}: ${message}` })

/** A text of the policy, quoted and cut, for messages. */
export const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)

/** A JSON value whose objects are Maps. */
export type Json = string | number | boolean | null | Json[] | JsonObject

/** A JSON object. */
export type JsonObject = Map<string, Json>

/** Deepest nesting: a policy has six levels (document, Statement, statement, Condition, operator, values). */
const maxDepth = 8

/** Longest string, in UTF-16 units: an ARN may have 2,048, an object key 1,024 bytes. */
const maxString = 2048

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const string = /"(?:[ !#-[\]-\uffff]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"/y
const word = /true|false|null/y

/** Parses one JSON text (RFC 8259); throws `SseError` MalformedPolicy, which names the character (counted from 1). */
export const parseJson = (text: string): Json => {
  let at = 0

  const failed = (message: string): Error => malformed(`Policy, character ${at + 1}`, message)

  /** Takes what `pattern` matches here, and the white space after it. */
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found === undefined) return undefined
    space.lastIndex = at + found.length
    space.test(text)
    at = space.lastIndex
    return found
  }

  const takeChar = (char: string): boolean => {
    if (text[at] !== char) return false
    take(/./sy)
    return true
  }

  const readString = (): string => {
    const start = at
    const found = take(string)
    if (found === undefined) throw failed('a JSON string is expected here.')
    const value: unknown = JSON.parse(found)
    const result = String(value)
    if (result.length <= maxString) return result
    at = start
    throw failed(`the string is too long. Write at most ${maxString} characters.`)
  }

  const readArray = (depth: number): Json[] => {
    const items: Json[] = []
    if (takeChar(']')) return items
    do items.push(readValue(depth))
    while (takeChar(','))
    if (!takeChar(']')) throw failed('"," or "]" is expected here.')
    return items
  }

  const readObject = (depth: number): JsonObject => {
    const members: JsonObject = new Map()
    if (takeChar('}')) return members
    do {
      const start = at
      const name = readString()
      if (members.has(name)) {
        at = start
        throw failed(`${quote(name)} stands twice in one object. Put its values into one list.`)
      }
      if (!takeChar(':')) throw failed('":" is expected here.')
      members.set(name, readValue(depth))
    } while (takeChar(','))
    if (!takeChar('}')) throw failed('"," or "}" is expected here.')
    return members
  }

  const readValue = (depth: number): Json => {
    if (depth === maxDepth) throw failed('the JSON is nested too deeply for a policy.')
    if (takeChar('{')) return readObject(depth + 1)
    if (takeChar('[')) return readArray(depth + 1)
    if (text[at] === '"') return readString()
    const literal = take(word)
    if (literal !== undefined) return literal === 'null' ? null : literal === 'true'
    const digits = take(number)
    if (digits !== undefined) return Number(digits)
    throw failed('a JSON value is expected here.')
  }

  take(space)
  const value = readValue(0)
  if (at < text.length) throw failed('the JSON text should end here.')
  return value
}

/** A text and where it stands, for example `Statement[0].Action[2]`. */
export interface Placed {
  /** For messages. */
  readonly place: string
  /** The text itself. */
  readonly text: string
}

/** A value with its place. */
export type PlacedJson = readonly [place: string, value: Json]

/** A JSON string; throws `SseError` MalformedPolicy for anything else. */
export const asText = (place: string, value: Json): string => {
  if (typeof value !== 'string') throw malformed(place, 'write a string here.')
  return value
}

/** A JSON object; throws `SseError` MalformedPolicy for anything else. */
export const asObject = (place: string, value: Json): JsonObject => {
  if (!(value instanceof Map)) throw malformed(place, 'write a JSON object here.')
  return value
}

/** One value or a list of them, as policies have it everywhere; throws `SseError` MalformedPolicy where the list is empty. */
export const asList = (place: string, value: Json): readonly PlacedJson[] => {
  if (!Array.isArray(value)) return [[place, value]]
  if (value.length === 0) throw malformed(place, 'the list is empty. Write at least one value.')
  return value.map((item, i) => [`${place}[${i}]`, item])
}

/** One string or a list of them. */
export const asTexts = (place: string, value: Json): readonly Placed[] =>
  asList(place, value).map(([place, item]) => ({ place, text: asText(place, item) }))

/** The members of an object, which must be among `known`; throws `SseError` MalformedPolicy, which names what is not. */
export const onlyKnown = (place: string, object: JsonObject, known: readonly string[]): void => {
  for (const name of object.keys())
    if (!known.includes(name)) throw malformed(place, `${quote(name)} is not known here. Use ${known.join(', ')}.`)
}
