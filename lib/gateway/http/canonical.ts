/**
 * Canonical percent-encoding, as signatures need it: one spelling for each byte. Nothing is normalized: `//`, `..` and `%2F` stay as they are.
 */
import { SseError } from '../../errors.ts'

const unreserved = /[\w.~-]/

const escape = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`

/**
 * The canonical spelling of raw text: unreserved characters (RFC 3986, section 2.3) plain, every other byte as `%XX` in upper case. `InvalidURI`
 * for a `%` without two hex digits, and for what is not printable ASCII.
 */
export const recode = (raw: string): string => (plain.test(raw) ? raw : raw.replace(/%[0-9a-f]{2}|[^\w.~-]/gi, respell))

const plain = /^[\w.~-]*$/

const respell = (found: string): string => {
  if (found.length === 3) {
    const byte = Number.parseInt(found.slice(1), 16)
    const character = String.fromCharCode(byte)
    return unreserved.test(character) ? character : escape(byte)
  }
  const byte = found.charCodeAt(0)
  if (found === '%' || byte < 0x20 || byte > 0x7e) throw new SseError('InvalidURI')
  return escape(byte)
}

/** The canonical spelling of a raw path; slashes stay. */
export const canonicalPath = (raw: string): string => raw.split('/').map(recode).join('/')

/** A text cut at the first separator; the second half is `undefined` where there is none. */
export const cut = (text: string, separator: string): readonly [string, string | undefined] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)]
}

/** Order of strings by their code units, for `sort`. */
export const order = (a: string, b: string): number => (a < b ? -1 : Number(a > b))

/**
 * The canonical spelling of a raw query: sorted by name, then by value, each name with its `=`; `+` is a space. Leaves out empty pieces and the
 * parameter `omit`.
 */
export const canonicalQuery = (raw: string, omit?: string): string => {
  if (raw === '') return ''
  const pairs: (readonly [string, string])[] = []
  for (const piece of raw.split('&')) {
    if (piece === '') continue
    const [name, value] = cut(piece.replaceAll('+', '%20'), '=')
    const encoded = recode(name)
    if (encoded !== omit) pairs.push([encoded, recode(value ?? '')])
  }
  pairs.sort((a, b) => order(a[0], b[0]) || order(a[1], b[1]))
  return pairs.map(([name, value]) => `${name}=${value}`).join('&')
}
