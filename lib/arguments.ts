/**
 * Checks of what the public functions are given, for programs that no compiler checks. Each throws a `TypeError` that names the argument, what it
 * takes and what came; never the value itself, which may be a secret.
 */

const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  if (value === '') return 'an empty string'
  if (typeof value !== 'object') return `a ${typeof value}`
  const { name } = value.constructor ?? {}
  return name === undefined || name === 'Object' ? 'an object' : `a value of class ${name}`
}

/** What every check ends with where it fails. */
export const wrongArgument = (name: string, takes: string, value: unknown): never => {
  throw new TypeError(`${name} takes ${takes}, not ${kindOf(value)}`)
}

/** An object with options, or another one whose parts are checked by themselves. */
export const assertOptions = (name: string, value: unknown, takes = 'an object with options'): void => {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    wrongArgument(name, takes, value)
  }
}

/** Text that is not empty. */
export const assertText = (name: string, value: unknown, takes = 'text'): void => {
  if (typeof value !== 'string' || value === '') wrongArgument(name, takes, value)
}

/** Bytes: a `Uint8Array`, of which a `Buffer` is one. */
export const assertBytes = (name: string, value: unknown, takes = 'bytes: a Uint8Array or Buffer'): void => {
  if (!(value instanceof Uint8Array)) wrongArgument(name, takes, value)
}

/** An object with these functions. */
export const assertFunctions = (name: string, value: unknown, takes: string, functions: readonly string[]): void => {
  const has = (each: string): boolean =>
    typeof value === 'object' && value !== null && each in value && typeof Reflect.get(value, each) === 'function'
  if (!functions.every(has)) wrongArgument(name, takes, value)
}

/** What `for await` takes. */
export const assertIterable = (name: string, value: unknown): void => {
  const iterable = typeof value === 'string' || (typeof value === 'object' && value !== null)
  if (!iterable || !(Symbol.asyncIterator in Object(value) || Symbol.iterator in Object(value))) {
    wrongArgument(name, 'what gives chunks: a stream, a generator or an array', value)
  }
}

/** What may be left out is checked where it is not. */
export const ifGiven = <T>(value: T | undefined, check: (value: T) => void): void => {
  if (value !== undefined) check(value)
}
