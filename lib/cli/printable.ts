/** Text from outside as it may be shown: nothing in it controls a terminal, begins a line, or changes the order in which a line is read. */

/** Control characters (those of C1 too), invisible ones, and line and paragraph separators. */
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

const escaped = (character: string): string =>
  Array.from({ length: character.length }, (_, i) => {
    return `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
  }).join('')

/** Text as a part of a line: what could do harm is escaped as JSON escapes it, such as `\u001b`. */
export const printable = (text: string): string => text.replaceAll(unsafe, escaped)

/** A value as JSON that is safe to show, and parses to the same value. */
export const printableJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).split('\n').map(printable).join('\n')
