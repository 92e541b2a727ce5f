/**
 * Pages of names in byte order, with common prefixes rolled up: the rest of a prefix is jumped over, so a page costs what it shows and not
 * what lies below its prefixes.
 */
import { compare, concat } from '../../bytes.ts'
import { entries } from './database.ts'
import { decodeKey, encodeKey, encodePrefix, keyAfterAll } from './keys.ts'

type Table<T> = Parameters<typeof entries<T>>[0]

/** Which names. */
export interface PageOptions {
  readonly prefix?: string | undefined
  readonly delimiter?: string | undefined
  readonly limit: number
  /** Only names behind this one, which may be a common prefix. */
  readonly after?: string | undefined
  /** Where in the table that is: the first key that may be shown. */
  readonly from: Uint8Array
}

/** A page. */
export interface Page<T> {
  readonly found: readonly { readonly names: readonly string[]; readonly value: T }[]
  readonly prefixes: readonly string[]
  readonly truncated: boolean
  /** The last thing that is shown: the names of an entry, or a common prefix alone. */
  readonly last: readonly string[] | undefined
}

/** A page of the entries of a bucket in a table whose keys are (id of the bucket, name, …). */
export const page = <T>(table: Table<T>, bucketId: string, options: PageOptions): Page<T> => {
  const { prefix = '', delimiter = '', after, limit } = options
  const root = encodeKey(bucketId)
  const within = (text: string): Uint8Array => concat(root, encodePrefix(text))
  const rollUp = (name: string): string | undefined => {
    const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
    return at < 0 ? undefined : name.slice(0, at + delimiter.length)
  }
  const end = keyAfterAll(within(prefix))
  const found: { names: readonly string[]; value: T }[] = []
  const prefixes: string[] = []
  let last: readonly string[] | undefined
  let start = compare(options.from, within(prefix)) > 0 ? options.from : within(prefix)
  if (limit < 1) return { found, prefixes, truncated: false, last }
  while (compare(start, end) < 0) {
    let next = end
    for (const { key, value } of entries(table, start, end)) {
      const names = decodeKey(key.subarray(root.length))
      const [name = ''] = names
      const common = rollUp(name)
      const passed = common !== undefined && after?.startsWith(common) === true
      if (!passed && found.length + prefixes.length === limit) return { found, prefixes, truncated: true, last }
      if (common === undefined) {
        found.push({ names, value })
        last = names
        continue
      }
      if (!passed) {
        prefixes.push(common)
        last = [common]
      }
      next = keyAfterAll(within(common))
      break
    }
    start = next
  }
  return { found, prefixes, truncated: false, last }
}
