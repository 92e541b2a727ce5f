/**
 * TTLV, the encoding of KMIP messages (KMIP 1.4, section 9.1), in bytes:
 *
 *     3  tag      1  type      4  length of the value, without its padding      value      zeros up to a multiple of 8
 *
 * A structure's value is items, one after the other. Only what this client needs is read into values; the rest is kept as bytes.
 */
import { fromUtf8, utf8, view } from '../../bytes.ts'
import { wrongAnswer } from './failure.ts'

/** What the values of items are, by the name of their type. */
interface Values {
  readonly structure: readonly Item[]
  readonly integer: number
  readonly enumeration: number
  readonly boolean: boolean
  readonly text: string
  readonly bytes: Uint8Array
  readonly date: bigint
  /** A type that is kept as bytes. */
  readonly other: Uint8Array
}
type Type = keyof Values
interface Typed<T extends Type> {
  readonly tag: number
  readonly type: T
  readonly value: Values[T]
}

/** One item: what its tag names, and its value. */
export type Item = { readonly [T in Type]: Typed<T> }[Type]

/** The items in an item. */
export const structure = (tag: number, ...value: readonly Item[]): Item => ({ tag, type: 'structure', value })
/** 32 bits with a sign. */
export const integer = (tag: number, value: number): Item => ({ tag, type: 'integer', value })
/** One of the numbers that KMIP lists for this tag. */
export const enumeration = (tag: number, value: number): Item => ({ tag, type: 'enumeration', value })
/** UTF-8. */
export const text = (tag: number, value: string): Item => ({ tag, type: 'text', value })
/** Bytes, which are not copied before {@link encodeItem}. */
export const bytes = (tag: number, value: Uint8Array): Item => ({ tag, type: 'bytes', value })

/** Bytes of tag, type and length. */
export const headSize = 8
/** Structures in structures that an answer may have: the deepest that is asked for has 6. */
const maxDepth = 16

const types = { structure: 1, integer: 2, enumeration: 5, boolean: 6, text: 7, bytes: 8, date: 9, other: 4 } as const
/** Types that are kept as bytes, with the length of each: long and big integer, interval, date with microseconds. */
const others: ReadonlyMap<number, number | undefined> = new Map([
  [3, 8],
  [4, undefined],
  [10, 4],
  [11, 8],
])

const padded = (size: number): number => Math.ceil(size / 8) * 8

const valueSize = (item: Item): number => {
  switch (item.type) {
    case 'structure':
      return item.value.reduce((sum, each) => sum + headSize + padded(valueSize(each)), 0)
    case 'integer':
    case 'enumeration':
      return 4
    case 'boolean':
    case 'date':
      return 8
    case 'text':
      return utf8(item.value).length
    default:
      return item.value.length
  }
}

/** The bytes of an item, in memory of their own: no secret is in any other copy. */
export const encodeItem = (item: Item): Uint8Array => {
  const out = new Uint8Array(headSize + padded(valueSize(item)))
  write(out, 0, item)
  return out
}

/** Writes an item; answers where the next one begins. */
const write = (out: Uint8Array, at: number, item: Item): number => {
  const size = valueSize(item)
  const data = view(out)
  data.setUint32(at, item.tag * 256 + types[item.type])
  data.setUint32(at + 4, size)
  const start = at + headSize
  if (item.type === 'structure') item.value.reduce((next, each) => write(out, next, each), start)
  else if (item.type === 'text') out.set(utf8(item.value), start)
  else if (item.type === 'integer') data.setInt32(start, item.value)
  else if (item.type === 'enumeration') data.setUint32(start, item.value)
  else if (item.type === 'boolean') out[start + 7] = item.value ? 1 : 0
  else if (item.type === 'date') data.setBigInt64(start, item.value)
  else if (item.type === 'bytes' || item.type === 'other') out.set(item.value, start)
  return start + padded(size)
}

/** Tag, type and length of the item that begins here. */
export const readHead = (
  from: Uint8Array,
  at = 0,
): { readonly tag: number; readonly type: number; readonly size: number } => {
  const data = view(from)
  const first = data.getUint32(at)
  return { tag: first >>> 8, type: first & 255, size: data.getUint32(at + 4) }
}

/**
 * Reads one item that fills these bytes. `KmsUnavailable` where they are anything else: another length, padding that is not zero, text that
 * is not UTF-8, a type that KMIP does not have, structures nested too deep. Byte strings are views of what was given.
 */
export const parseItem = (from: Uint8Array): Item => {
  const [item, ...more] = parseItems(from, 0)
  return item === undefined || more.length > 0 ? wrongAnswer('it is not one item') : item
}

const parseItems = (from: Uint8Array, depth: number): readonly Item[] => {
  if (depth > maxDepth) return wrongAnswer('its structures are nested too deep')
  const items: Item[] = []
  for (let at = 0; at < from.length;) {
    if (from.length - at < headSize) return wrongAnswer('an item ends in its head')
    const { tag, type, size } = readHead(from, at)
    const start = at + headSize
    const end = start + padded(size)
    if (end > from.length) return wrongAnswer('an item is longer than what it is in')
    if (from.subarray(start + size, end).some(byte => byte !== 0)) return wrongAnswer('its padding is not zero')
    items.push(parseValue(tag, type, from.subarray(start, start + size), depth))
    at = end
  }
  return items
}

const parseValue = (tag: number, type: number, value: Uint8Array, depth: number): Item => {
  const fixed = (size: number): DataView =>
    value.length === size ? view(value) : wrongAnswer(`an item of type ${type} has ${value.length} bytes`)
  switch (type) {
    case types.structure:
      return { tag, type: 'structure', value: parseItems(value, depth + 1) }
    case types.integer:
      return { tag, type: 'integer', value: fixed(4).getInt32(0) }
    case types.enumeration:
      return { tag, type: 'enumeration', value: fixed(4).getUint32(0) }
    case types.boolean: {
      const number = fixed(8).getBigUint64(0)
      return number > 1n ? wrongAnswer('a boolean is neither 0 nor 1') : { tag, type: 'boolean', value: number === 1n }
    }
    case types.text:
      return { tag, type: 'text', value: parseText(value) }
    case types.bytes:
      return { tag, type: 'bytes', value }
    case types.date:
      return { tag, type: 'date', value: fixed(8).getBigInt64(0) }
    default: {
      if (!others.has(type)) return wrongAnswer(`there is no type ${type}`)
      fixed(others.get(type) ?? padded(Math.max(value.length, 1)))
      return { tag, type: 'other', value }
    }
  }
}

const parseText = (value: Uint8Array): string => {
  try {
    return fromUtf8(value)
  } catch {
    return wrongAnswer('a text is not UTF-8')
  }
}

/** The values of the items with this tag; `KmsUnavailable` where one has another type. */
export const itemsOf = <T extends Type>(items: readonly Item[], tag: number, type: T): readonly Values[T][] =>
  items
    .filter(item => item.tag === tag)
    .map(item => (isOf(item, type) ? item.value : wrongAnswer(`the item ${tag.toString(16)} is no ${type}`)))

/** The value of the one item with this tag, if it is there. */
export const itemOf = <T extends Type>(items: readonly Item[], tag: number, type: T): Values[T] | undefined => {
  const [value, ...more] = itemsOf(items, tag, type)
  return more.length > 0 ? wrongAnswer(`the item ${tag.toString(16)} is there twice`) : value
}

const isOf = <T extends Type>(item: Item, type: T): item is Item & Typed<T> => item.type === type
