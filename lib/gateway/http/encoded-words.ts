/**
 * Text in a header (RFC 2047): metadata that is not printable ASCII is answered in encoded words, and taken from them, as S3 does. Kept is UTF-8, one
 * character a byte, as headers have it.
 */
import { isUtf8 } from 'node:buffer'
import { base64, fromBase64 } from '../../bytes.ts'
import { asHeader } from './headers.ts'

// Linear: what each piece takes ends before the next `=?` or `?`.
const encodedWord = /=\?([\w-]{1,40})\?([BQ])\?([\x21-\x3e\x40-\x7e]*)\?=/gi

const quotedPrintable = (text: string): Uint8Array =>
  Buffer.from(
    text
      .replaceAll('_', ' ')
      .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )

/** The text of a word; `undefined` where it cannot be read. */
const wordText = (charset: string, encoding: string, text: string): string | undefined => {
  const bytes = encoding.toUpperCase() === 'B' ? fromBase64(text) : quotedPrintable(text)
  if (bytes === undefined) return undefined
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined // an unknown charset, or not of this one
  }
}

/** A value as it is kept: encoded words are read, of any charset, and bytes that are no UTF-8 are taken for ISO 8859-1. What is no word stays. */
export const fromHeaderText = (value: string): string => {
  const utf8 = isUtf8(Buffer.from(value, 'latin1')) ? value : asHeader(value)
  return utf8
    .replace(/\?=[ \t]+(?==\?)/g, '?=') // space between two words is no part of the text
    .replace(encodedWord, (word, charset: string, encoding: string, text: string) => {
      const decoded = wordText(charset, encoding, text)
      return decoded === undefined ? word : asHeader(decoded)
    })
}

const mostInWord = 45 // bytes, so that a word has at most 75 characters

/** A kept value as an answer has it: as it is, or in encoded words of UTF-8 where it is not printable ASCII, or looks like such a word. */
export const toHeaderText = (value: string): string => {
  if (/^[\x20-\x7e]*$/.test(value) && value.search(encodedWord) < 0) return value
  const bytes = Buffer.from(value, 'latin1')
  const words: string[] = []
  for (let start = 0; start < bytes.length;) {
    let end = Math.min(start + mostInWord, bytes.length)
    while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end-- // not within a character
    words.push(`=?UTF-8?B?${base64(bytes.subarray(start, end))}?=`)
    start = end
  }
  return words.join(' ')
}
