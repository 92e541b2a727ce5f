/**
 * The text of the key store's files: one JSON object, its last member the authentication of all that stands before it.
 *
 *     {"format":"…", … ,"mac":"64 hex digits"}\n        mac = HMAC-SHA-256(key, identity ‖ \n ‖ {"format":"…", … })
 *
 * The identity says which file it is, so that no file passes for another one. Nothing here is secret: keys in it are wrapped.
 */
import { equal, fromHex, fromUtf8, hex, utf8 } from '../../bytes.ts'
import type { Engine } from '../../cipher/engine.ts'
import { SseError } from '../../errors.ts'

const opening = ',"mac":"'
const closing = '"}\n'
const tailSize = opening.length + 64 + closing.length

/**
 * Throws `KeyringCorrupt`. Which file it is, and `what` is wrong with it, stands in the cause alone: the message may be answered to a
 * client.
 */
export const corrupt = (file?: string, what: string = 'damaged, or another one than was written there'): never => {
  throw new SseError('KeyringCorrupt', { cause: file === undefined ? undefined : new Error(`${file} is ${what}`) })
}

/** Throws `KeyringTooNew` where `found` is a later version of a format NAME/VERSION. */
const assertNotNewer = (found: unknown, format: string): void => {
  const [name, version] = format.split('/')
  const [, other] = (typeof found === 'string' && /^([^/]*)\/(\d{1,9})$/.exec(found)) || []
  if (typeof found !== 'string' || other !== name) return
  if (Number(found.slice(format.indexOf('/') + 1)) > Number(version)) throw new SseError('KeyringTooNew')
}

/** The bytes of a file: `body` is the text of a JSON object that is not empty; `identity` has no line break. */
export const sealJson = async (
  engine: Engine,
  key: Uint8Array,
  identity: string,
  body: string,
): Promise<Uint8Array> => {
  const mac = hex(await engine.hmacSha256(key, utf8(`${identity}\n${body}`)))
  return utf8(`${body.slice(0, -1)}${opening}${mac}${closing}`)
}

/** The body of a file, not authenticated yet; empty where the file is too short for one. */
export const bodyOf = (bytes: Uint8Array): string => {
  if (bytes.length <= tailSize) return ''
  try {
    return `${fromUtf8(bytes.subarray(0, bytes.length - tailSize))}}`
  } catch {
    return ''
  }
}

/** Whether a file is authentic: exactly the bytes that {@link sealJson} would make of its body. */
export const isSealed = async (
  engine: Engine,
  key: Uint8Array,
  identity: string,
  bytes: Uint8Array,
): Promise<boolean> => equal(await sealJson(engine, key, identity, bodyOf(bytes)), bytes)

/** Reads the members of an object; each call throws `KeyringCorrupt` where there is no such value. */
export interface Fields {
  /** A safe integer, 0 or more. */
  number(name: string): number
  /** The same, or nothing. */
  optionalNumber(name: string): number | undefined
  /** A string. */
  text(name: string): string
  /** One of these strings. */
  oneOf<const T extends string>(name: string, options: readonly T[]): T
  /** Strings of hex, each of `size` bytes. */
  bytes(name: string, size: number): readonly Uint8Array[]
}

/**
 * The members of a body of this format, NAME/VERSION, or an earlier version of it that is named. `KeyringTooNew` for a later version,
 * `KeyringCorrupt` for any other text.
 */
export const fieldsOf = (body: string, format: string, earlier?: string): Fields => {
  const members = membersOf(body)
  const found = members.get('format')
  assertNotNewer(found, format)
  if (typeof found !== 'string' || (found !== format && found !== earlier)) return corrupt()
  const number = (name: string): number => {
    const value = members.get(name)
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : corrupt()
  }
  return {
    number,
    optionalNumber: name => (members.has(name) ? number(name) : undefined),
    text: name => {
      const value = members.get(name)
      return typeof value === 'string' ? value : corrupt()
    },
    oneOf: (name, options) => options.find(option => option === members.get(name)) ?? corrupt(),
    bytes: (name, size) => {
      const value = members.get(name)
      if (!Array.isArray(value)) return corrupt()
      return value.map((item: unknown) => {
        const bytes = typeof item === 'string' ? fromHex(item) : undefined
        return bytes?.length === size ? bytes : corrupt()
      })
    },
  }
}

const membersOf = (body: string): ReadonlyMap<string, unknown> => {
  try {
    const parsed: unknown = JSON.parse(body)
    return new Map<string, unknown>(Object.entries(parsed ?? {}))
  } catch {
    return corrupt()
  }
}
