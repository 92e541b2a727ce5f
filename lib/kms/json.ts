/** JSON of key managers: read field by field, since nothing says that it has the fields it should. */
import { fromUtf8, utf8 } from '../bytes.ts'

/** The value of JSON; `undefined` where the bytes are none. (The parser's own error would show a piece of them.) */
export const parseJson = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(fromUtf8(bytes))
  } catch {
    return undefined
  }
}

/** JSON as bytes, which can be wiped. */
export const jsonBytes = (value: unknown): Uint8Array => utf8(JSON.stringify(value))

/** A field of an object, down a path of names; `undefined` where there is none. */
export const field = (value: unknown, ...path: readonly string[]): unknown => {
  let at = value
  for (const name of path) {
    if (typeof at !== 'object' || at === null) return undefined
    at = Object.hasOwn(at, name) ? Reflect.get(at, name) : undefined
  }
  return at
}

/** A field that is a string. */
export const text = (value: unknown, ...path: readonly string[]): string | undefined => {
  const found = field(value, ...path)
  return typeof found === 'string' ? found : undefined
}

/** A field that is a finite number. */
export const number = (value: unknown, ...path: readonly string[]): number | undefined => {
  const found = field(value, ...path)
  return typeof found === 'number' && Number.isFinite(found) ? found : undefined
}

/** A field that is a list. */
export const list = (value: unknown, ...path: readonly string[]): readonly unknown[] => {
  const found = field(value, ...path)
  return Array.isArray(found) ? found : []
}
