/** Claims in text for people. Strings out of a file are quoted, so that they can neither command a terminal nor pose as another line. */
import type { Claims, DescriptorClaims, FileClaims, KeyClaims, PartClaims } from './claims.ts'

/** Rows of a part table that are shown; JSON has all. */
const shownParts = 10

type Line = readonly [name: string, value: string]

const number = (n: number): string => n.toLocaleString('en-US')
const bytes = (n: number | null): string => (n === null ? 'not stated' : `${number(n)} bytes`)

/** A string out of a file: quoted, with everything escaped that is not visible. */
export const quote = (text: string): string =>
  JSON.stringify(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, c => `\\u{${Number(c.codePointAt(0)).toString(16)}}`)

const keyLines = ({ provider, keyId, wrapAlg, wrap, keyVersion, context, blobLength }: KeyClaims): readonly Line[] => [
  ['provider', provider],
  ['master key', keyId === '' ? 'none stored: a key of the customer' : quote(keyId)],
  ...(keyVersion === null ? [] : [['key version', String(keyVersion)] as const]),
  ['wrap', `${wrapAlg} (${wrap}), ${number(blobLength)} bytes`],
  ...(Object.keys(context).length === 0 ? [['context', 'no entries stored'] as const] : []),
  ...Object.entries(context).map(([name, value]): Line => ['context', `${quote(name)} = ${quote(value)}`]),
]

const descriptorLines = (descriptor: DescriptorClaims): readonly Line[] => [
  ['plaintext', descriptor.lengthKnown ? bytes(descriptor.plaintextLength) : 'not stated: it was written to a pipe'],
  ['stored', bytes(descriptor.storedLength)],
  ['table hash', descriptor.tableHash],
  ['descriptor tag', descriptor.tag],
]

const completeness = ({ complete }: FileClaims): string =>
  complete === null
    ? 'not read to the end'
    : complete
      ? 'as long as it should be'
      : 'NOT as long as it should be: cut or extended'

const fileLines = (file: FileClaims, lengthKnown: boolean): readonly Line[] => [
  ['front', bytes(file.frontLength)],
  ['streams', `${file.heldLength === null ? 'unknown' : bytes(file.heldLength)} (${completeness(file)})`],
  ...(lengthKnown || file.plaintextLength === null ? [] : [['length by size', bytes(file.plaintextLength)] as const]),
]

const partLines = (parts: readonly PartClaims[]): readonly Line[] => [
  ...parts
    .slice(0, shownParts)
    .map(({ part, plaintextLength, salt }): Line => [
      part === 0 ? 'stream' : `part ${part}`,
      `${bytes(plaintextLength)}, salt ${salt}`,
    ]),
  ...(parts.length > shownParts ? [['…', `${number(parts.length - shownParts)} more parts: see --json`] as const] : []),
]

/** The lines that tell of claims. */
export const describeClaims = ({ kind, suite, bodyId, descriptor, key, parts, sealedLength, file }: Claims): string => {
  const lines: readonly Line[] = [
    ...(suite === undefined
      ? []
      : [['suite', `${suite.id} (${suite.aead}, segments of ${number(suite.segmentSize)} bytes)`] as const]),
    ...(bodyId === undefined ? [] : [['body id', bodyId] as const]),
    ...(descriptor === undefined ? [] : descriptorLines(descriptor)),
    ...(file === undefined ? [] : fileLines(file, descriptor?.lengthKnown === true)),
    ...(key === undefined ? [] : keyLines(key)),
    ...(parts === undefined ? [] : partLines(parts)),
    ...(sealedLength === undefined ? [] : [['sealed values', bytes(sealedLength)] as const]),
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  const title = `${kind}: what it says of itself, none of it verified (that takes the key: sse-kms decrypt)\n`
  return title + lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join('')
}
