/**
 * Readers of JSON values that know the place they read: what is expected there, or a MalformedPolicy error with the place in it. What the
 * texts mean is not known here.
 */

import type { Json, JsonObject } from './json.ts'
import { malformed, quote } from './malformed.ts'

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
