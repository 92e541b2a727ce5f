/**
 * The encryption context (format.md, section 6): a map of strings that is authenticated with the wrapped key. Names that begin with
 * `aws:` or `sse-kms-streams:` are the system's: they are recomputed from the request and never stored; all others are the user's and
 * lie in the wrap record.
 */
import { assertOptions, wrongArgument } from '../arguments.ts'
import { compare, fromUtf8, getU16, isWellFormed, setU16, utf8 } from '../bytes.ts'
import { SseError } from '../errors.ts'

/** A context as callers give it. */
export type ContextInput = Readonly<Record<string, string>> | ReadonlyMap<string, string>

/** A context, checked and encoded. */
export interface EncryptionContext {
  /** User and system entries together, sorted by the bytes of their names. */
  readonly entries: ReadonlyMap<string, string>
  /** The user's entries as a wrap record stores them. */
  readonly stored: Uint8Array
  /** Canonical form of all entries. */
  readonly canonical: Uint8Array
}

/** The most bytes of a canonical form. */
export const maxCanonical = 8192
/** The most bytes of a stored user context, so that every rename fits. */
export const maxStored = 6144

const invalid = (message: string): never => {
  throw new SseError('InvalidContext', { message })
}

const isSystem = (name: string): boolean => name.startsWith('aws:') || name.startsWith('sse-kms-streams:')

const entriesOf = (input: ContextInput): readonly (readonly [string, string])[] => {
  if (input instanceof Map) return [...input]
  assertOptions('an encryption context', input, 'names with values: an object or a Map')
  return Object.entries(input)
}

/** An entry, checked, and its bytes. */
interface Row {
  readonly entry: readonly [name: string, value: string]
  readonly name: Uint8Array
  readonly value: Uint8Array
}

const rowsOf = (input: ContextInput): readonly Row[] =>
  entriesOf(input)
    .map((entry): Row => {
      const [name, value] = entry
      if (typeof name !== 'string' || typeof value !== 'string') {
        return wrongArgument(`${JSON.stringify(name)} of an encryption context`, 'text', value)
      }
      if (!isWellFormed(name) || !isWellFormed(value))
        return invalid('The encryption context has a string that is not well-formed Unicode.')
      if (name === '') return invalid('The encryption context has an empty name.')
      return { entry, name: utf8(name), value: utf8(value) }
    })
    .sort((a, b) => compare(a.name, b.name))

const encode = (rows: readonly Row[], limit: number): Uint8Array => {
  let size = 2
  for (const { name, value } of rows) size += 4 + name.length + value.length
  if (size > limit) return invalid(`The encryption context has ${size} bytes. Use at most ${limit}.`)
  const out = new Uint8Array(size)
  setU16(out, 0, rows.length)
  let at = 2
  for (const { name, value } of rows) {
    for (const text of [name, value]) {
      setU16(out, at, text.length)
      out.set(text, at + 2)
      at += 2 + text.length
    }
  }
  return out
}

/**
 * A context from one map: entries with a reserved name are the system's, all others the user's. {@link SseError} `InvalidContext` where
 * a string is not well-formed, a name empty or the whole too long.
 *
 * {@includeCode ../../test/examples/reference.test.ts#context}
 */
export const encryptionContext = (input: ContextInput = {}): EncryptionContext => {
  const rows = rowsOf(input)
  const canonical = encode(rows, maxCanonical)
  const stored = encode(
    rows.filter(({ entry: [name] }) => !isSystem(name)),
    maxStored,
  )
  return { entries: new Map(rows.map(({ entry }) => entry)), stored, canonical }
}

/**
 * The context of a client's entries and the system's. A client's `aws:s3:arn` that equals the system's is dropped; any other reserved
 * name is refused with `InvalidContext`.
 *
 * {@includeCode ../../test/examples/reference.test.ts#context}
 */
export const clientContext = (client: ContextInput, system: ContextInput): EncryptionContext => {
  const bound = new Map(entriesOf(system))
  for (const name of bound.keys()) if (!isSystem(name)) throw new TypeError(`${name} is no name of a system entry`)
  const user = entriesOf(client).filter(([name, value]) => {
    if (name === 'aws:s3:arn' && bound.get(name) === value) return false
    if (isSystem(name)) return invalid(`The encryption context names ${name}, which is reserved. Leave it out.`)
    return true
  })
  return encryptionContext(new Map([...user, ...bound]))
}

/**
 * The context of a stored record: its user entries, and the reserved entries of `given`. Other entries of `given` must be among the
 * stored ones with the same value: `NotAuthentic` otherwise, before any KMS is asked.
 */
export const storedContext = (stored: Uint8Array, given: ContextInput = {}): EncryptionContext => {
  const user = parseContext(stored)
  const entries = entriesOf(given)
  for (const [name, value] of entries) {
    if (!isSystem(name) && user.get(name) !== value) throw new SseError('NotAuthentic')
  }
  return encryptionContext(new Map([...user, ...entries.filter(([name]) => isSystem(name))]))
}

/**
 * The user entries of a stored context; `NotAuthentic` unless the bytes are their one encoding: sorted by bytes, names unique, not
 * empty and not reserved, well-formed UTF-8, at most 6,144 bytes.
 */
export const parseContext = (bytes: Uint8Array): ReadonlyMap<string, string> => {
  const malformed = (): never => {
    throw new SseError('NotAuthentic')
  }
  if (bytes.length < 2 || bytes.length > maxStored) return malformed()
  let at = 2
  const string = (): string => {
    if (at + 2 > bytes.length) return malformed()
    const end = at + 2 + getU16(bytes, at)
    if (end > bytes.length) return malformed()
    const text = bytes.subarray(at + 2, end)
    at = end
    try {
      return fromUtf8(text)
    } catch {
      return malformed()
    }
  }
  const entries = new Map<string, string>()
  let before: Uint8Array | undefined
  for (let left = getU16(bytes); left > 0; left--) {
    const name = string()
    const nameBytes = utf8(name)
    if (name === '' || isSystem(name) || (before !== undefined && compare(before, nameBytes) >= 0)) return malformed()
    entries.set(name, string())
    before = nameBytes
  }
  return at === bytes.length ? entries : malformed()
}
