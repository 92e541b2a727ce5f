/**
 * `sse-kms inspect`: shows what an encrypted file, or another record of the format, says about itself. It needs no key, and so it shows
 * claims: nothing is authenticated here, and a changed file can say anything.
 */
import { concat, equal, fromBase64url, hex, utf8 } from '../bytes.ts'
import type { Suite } from '../cipher/suite.ts'
import {
  type Envelope,
  filePrefixSize,
  maxEnvelope,
  parseEnvelope,
  parseReceipt,
  parseSession,
} from '../envelope/envelope.ts'
import { parseTable, type PartRow } from '../envelope/part-table.ts'
import type { WrapRecord } from '../envelope/wrap-record.ts'
import { SseError } from '../errors.ts'
import { parseContext } from '../kms/context.ts'
import type { WrapAlg, WrappedKey } from '../kms/provider.ts'
import { localVersion, splitNested } from '../kms/wrap.ts'
import { type RandomAccess, readFileEnvelope } from '../object/file.ts'
import { plaintextLength } from '../segment/layout.ts'
import { command, type Command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { type Source, withInput } from './files.ts'
import { print } from './io.ts'
import { printableJson } from './printable.ts'

const options = {
  envelope: { value: 'TEXT', help: 'an envelope, session or receipt in base64url, instead of a file' },
  ...commonOptions,
} as const satisfies Record<string, Option>

/** Greatest number of bytes in front of a file's streams. */
const longestFront = filePrefixSize + maxEnvelope

const unreadable = (): SseError =>
  new SseError('NotAuthentic', {
    message: 'This is not an encrypted file, envelope, session or receipt of this format, or it is damaged.',
  })

/** The claims of bytes with random access. `isWhole` says that nothing follows them. */
const claimsOf = async (file: RandomAccess, isWhole: boolean): Promise<Claims> => {
  if (file.size < 4) throw unreadable()
  if (equal(await file.read(0, 3), utf8('SKF1'))) {
    const { envelope, at } = await readFileEnvelope(file)
    return fileClaims(envelope, at, isWhole ? file.size - at : null)
  }
  if (file.size > maxEnvelope) throw unreadable()
  return recordClaims(await file.read(0, file.size - 1))
}

const inMemory = (bytes: Uint8Array): RandomAccess => ({
  size: bytes.length,
  read: async (start, end) => bytes.slice(start, end + 1),
})

const claimsOfPipe = async (pipe: Source): Promise<Claims> => {
  let front: Uint8Array = new Uint8Array(0)
  for await (const chunk of pipe) {
    front = concat(front, chunk)
    if (front.length > longestFront) return claimsOf(inMemory(front), false)
  }
  return claimsOf(inMemory(front), true)
}

const explained = async (claims: Promise<Claims>): Promise<Claims> => {
  try {
    return await claims
  } catch (error) {
    throw error instanceof SseError && error.code === 'NotAuthentic' ? unreadable() : error
  }
}

/** `sse-kms inspect`. */
export const inspect: Command = command({
  name: 'inspect',
  usage: ['[FILE] [--json]', '--envelope TEXT [--json]'],
  about: [
    'Shows what an encrypted file says about itself: suite, lengths, parts, master key, encryption context. It needs no ' +
      'key and so it proves nothing: a changed file can say anything. Only decryption verifies it.',
  ],
  options,
  examples: [
    'sse-kms inspect report.pdf.sse',
    'sse-kms inspect --json < report.pdf.sse',
    'sse-kms inspect --envelope "$text"',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const text = args.text('envelope')
    if (text !== undefined && path !== undefined) throw usage('--envelope and a file cannot be used together')
    const bytes = text === undefined ? undefined : fromBase64url(text)
    if (text !== undefined && bytes === undefined) throw usage('--envelope is not base64url without padding')
    const claims = await explained(
      bytes === undefined
        ? withInput(path, io, ({ file, pipe }) => (file === undefined ? claimsOfPipe(pipe) : claimsOf(file, true)))
        : claimsOf(inMemory(bytes), true),
    )
    await print(io.stdout, args.flag('json') ? `${printableJson(claims, 2)}\n` : describeClaims(claims))
  },
})

/** What a record says about the wrapped data key. */
interface KeyClaims {
  readonly provider: string
  readonly keyId: string
  readonly wrapAlg: WrapAlg
  /** What the number means. */
  readonly wrap: string
  /** Version of the master key, if the record tells. */
  readonly keyVersion: number | null
  /** Stored entries. Entries of the system (`aws:`) are not stored. */
  readonly context: Readonly<Record<string, string>>
  /** Bytes of the wrapped key. */
  readonly blobLength: number
}

/** A part, or the one stream. */
interface PartClaims {
  readonly part: number
  /** `null` if it is not stated. */
  readonly plaintextLength: number | null
  readonly salt: string
}

interface DescriptorClaims {
  readonly lengthKnown: boolean
  readonly plaintextLength: number | null
  readonly storedLength: number | null
  readonly tableHash: string
  readonly tag: string
}

/** What the length of a file tells. */
interface FileClaims {
  /** Bytes in front of the streams. */
  readonly frontLength: number
  /** Bytes of the streams that are there. `null` for a pipe, which is not read to its end. */
  readonly heldLength: number | null
  /** Whether that is the length that the envelope states. `null` if unknown. */
  readonly complete: boolean | null
  /** Length of the plaintext, stated or computed from `heldLength`. `null` if unknown. */
  readonly plaintextLength: number | null
}

/** Claims of any kind of record, as `--json` prints them. */
interface Claims {
  readonly kind: 'file' | 'envelope' | 'session' | 'receipt'
  readonly verified: false
  readonly suite?: { readonly id: number; readonly aead: string; readonly segmentSize: number }
  readonly bodyId?: string
  readonly descriptor?: DescriptorClaims
  readonly key?: KeyClaims
  /** What the keys of Complete lie under, in a session that has them. */
  readonly completionKey?: KeyClaims
  readonly parts?: readonly PartClaims[]
  /** Bytes of a receipt's sealed values. */
  readonly sealedLength?: number
  readonly file?: FileClaims
}

const wraps = {
  1: "the KMS's own",
  2: 'local, AES-256 key wrap',
  3: 'under a bucket key',
  4: 'under an outer key of its own',
} as const satisfies Record<WrapAlg, string>

const versionOf = (wrapped: WrappedKey): number | null => {
  if (wrapped.provider !== 'local') return null
  return localVersion(wrapped.wrapAlg === 2 ? wrapped.blob : splitNested(wrapped).inner.blob)
}

const keyClaims = ({ wrapped, context }: WrapRecord): KeyClaims => ({
  provider: wrapped.provider,
  keyId: wrapped.keyId,
  wrapAlg: wrapped.wrapAlg,
  wrap: wraps[wrapped.wrapAlg],
  keyVersion: versionOf(wrapped),
  context: Object.fromEntries(parseContext(context)),
  blobLength: wrapped.blob.length,
})

const stated = (length: number): number | null => (length === Infinity ? null : length)

const partClaims = ({ part, length, salt }: PartRow): PartClaims => ({
  part,
  plaintextLength: stated(length),
  salt: hex(salt),
})

const suiteClaims = ({ id, aead, segmentSize }: Suite): NonNullable<Claims['suite']> => ({ id, aead, segmentSize })

const envelopeClaims = ({ record, descriptor, table }: Envelope): Claims => ({
  kind: 'envelope',
  verified: false,
  suite: suiteClaims(descriptor.suite),
  bodyId: hex(descriptor.bodyId),
  descriptor: {
    lengthKnown: !descriptor.unknownLength,
    plaintextLength: stated(descriptor.plaintextLength),
    storedLength: stated(descriptor.storedLength),
    tableHash: hex(descriptor.tableHash),
    tag: hex(descriptor.tag),
  },
  key: keyClaims(record),
  parts: parseTable(table, descriptor.suite, descriptor.unknownLength).map(partClaims),
})

const lengthOf = (suite: Suite, held: number): number | null => {
  try {
    return plaintextLength(suite, held)
  } catch {
    return null
  }
}

/** The claims of a file whose streams begin at `frontLength`. `heldLength` is `null` if unknown. */
const fileClaims = (envelope: Envelope, frontLength: number, heldLength: number | null): Claims => {
  const { suite, unknownLength, storedLength, plaintextLength: said } = envelope.descriptor
  const found = heldLength === null ? null : lengthOf(suite, heldLength)
  const complete = heldLength === null ? null : unknownLength ? found !== null : heldLength === storedLength
  const length = unknownLength ? found : said
  return {
    ...envelopeClaims(envelope),
    kind: 'file',
    file: { frontLength, heldLength, complete, plaintextLength: length },
  }
}

/** The claims of an envelope, session or receipt, by its first four bytes. Throws `NotAuthentic` for any other. */
const recordClaims = (bytes: Uint8Array): Claims => {
  const begins = (magic: string) => equal(bytes.subarray(0, 4), utf8(magic))
  if (begins('SKE1')) return envelopeClaims(parseEnvelope(bytes))
  if (begins('SKU1')) {
    const { suite, bodyId, record, completion } = parseSession(bytes)
    return {
      ...{ kind: 'session', verified: false, suite: suiteClaims(suite), bodyId: hex(bodyId), key: keyClaims(record) },
      ...(completion && { completionKey: keyClaims(completion.record) }),
    }
  }
  if (!begins('SKR1')) throw new SseError('NotAuthentic')
  const { row, values } = parseReceipt(bytes)
  return { kind: 'receipt', verified: false, parts: [partClaims(row)], sealedLength: values.length }
}

/** Parts that the text lists. JSON has all. */
const shownParts = 10

type Line = readonly [name: string, value: string]

const number = (n: number): string => n.toLocaleString('en-US')
const bytes = (n: number | null): string => (n === null ? 'not stated' : `${number(n)} bytes`)

const keyLines = ({ provider, keyId, wrapAlg, wrap, keyVersion, context, blobLength }: KeyClaims): readonly Line[] => [
  ['provider', provider],
  ['master key', keyId === '' ? 'none stored: a key of the customer' : printableJson(keyId)],
  ...(keyVersion === null ? [] : [['key version', String(keyVersion)] as const]),
  ['wrap', `${wrapAlg} (${wrap}), ${number(blobLength)} bytes`],
  ...(Object.keys(context).length === 0 ? [['context', 'no entries stored'] as const] : []),
  ...Object.entries(context).map(([name, value]): Line => [
    'context',
    `${printableJson(name)} = ${printableJson(value)}`,
  ]),
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
      : 'NOT as long as it should be: truncated or extended'

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

/** Claims as text. */
const describeClaims = ({
  kind,
  suite,
  bodyId,
  descriptor,
  key,
  completionKey,
  parts,
  sealedLength,
  file,
}: Claims): string => {
  const lines: readonly Line[] = [
    ...(suite === undefined
      ? []
      : [['suite', `${suite.id} (${suite.aead}, segments of ${number(suite.segmentSize)} bytes)`] as const]),
    ...(bodyId === undefined ? [] : [['body id', bodyId] as const]),
    ...(descriptor === undefined ? [] : descriptorLines(descriptor)),
    ...(file === undefined ? [] : fileLines(file, descriptor?.lengthKnown === true)),
    ...(key === undefined ? [] : keyLines(key)),
    ...(completionKey === undefined
      ? []
      : keyLines(completionKey).map(([name, value]): Line => [`completion keys: ${name}`, value])),
    ...(parts === undefined ? [] : partLines(parts)),
    ...(sealedLength === undefined ? [] : [['sealed values', bytes(sealedLength)] as const]),
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  const title = `${kind}: unverified claims (only sse-kms decrypt, with the key, verifies them)\n`
  return title + lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join('')
}
