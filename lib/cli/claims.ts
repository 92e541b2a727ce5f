/**
 * What stored bytes say of themselves: a file, envelope, session or receipt, taken apart without a key. Claims, all of them: nothing here
 * was authenticated, and whoever can write the bytes can make them say anything.
 */
import { equal, hex, utf8 } from '../bytes.ts'
import type { Suite } from '../cipher/suite.ts'
import { parseEnvelope, parseReceipt, parseSession, type Envelope } from '../envelope/envelope.ts'
import { type PartRow, parseTable } from '../envelope/part-table.ts'
import type { WrapRecord } from '../envelope/wrap-record.ts'
import { SseError } from '../errors.ts'
import { parseContext } from '../kms/context.ts'
import type { WrapAlg, WrappedKey } from '../kms/provider.ts'
import { localVersion, splitNested } from '../kms/wrap.ts'
import { plaintextLength } from '../segment/layout.ts'

/** How a data key is said to be wrapped. */
export interface KeyClaims {
  readonly provider: string
  readonly keyId: string
  readonly wrapAlg: WrapAlg
  /** What the number means. */
  readonly wrap: string
  /** Version of the master key, where the record tells. */
  readonly keyVersion: number | null
  /** Entries that the record stores; system entries are not stored. */
  readonly context: Readonly<Record<string, string>>
  /** Bytes of the wrapped key. */
  readonly blobLength: number
}

/** A part, or the one stream. Lengths are `null` where they are not stated. */
export interface PartClaims {
  readonly part: number
  readonly plaintextLength: number | null
  readonly salt: string
}

/** The suite that is named. */
export interface SuiteClaims {
  readonly id: number
  readonly aead: string
  readonly segmentSize: number
}

/** What a descriptor says. */
export interface DescriptorClaims {
  readonly lengthKnown: boolean
  readonly plaintextLength: number | null
  readonly storedLength: number | null
  readonly tableHash: string
  readonly tag: string
}

/** Claims of any kind of record. */
export interface Claims {
  readonly kind: 'file' | 'envelope' | 'session' | 'receipt'
  /** Always: nothing here was checked against a key. */
  readonly verified: false
  readonly suite?: SuiteClaims
  readonly bodyId?: string
  readonly descriptor?: DescriptorClaims
  readonly key?: KeyClaims
  readonly parts?: readonly PartClaims[]
  /** Of a receipt: bytes of its sealed values. */
  readonly sealedLength?: number
  readonly file?: FileClaims
}

/** What a file tells by its length. */
export interface FileClaims {
  /** Bytes in front of the streams. */
  readonly frontLength: number
  /** Bytes of the streams that are there; `null` from a pipe, which is not read to its end. */
  readonly heldLength: number | null
  /** Whether that fits what the envelope says; `null` where it cannot be told. */
  readonly complete: boolean | null
  /** Plaintext bytes that the held ones would be; `null` where it cannot be told. */
  readonly plaintextLength: number | null
}

const wraps = {
  1: "the key manager's own",
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

const suiteClaims = ({ id, aead, segmentSize }: Suite): SuiteClaims => ({ id, aead, segmentSize })

/** The claims of an envelope. */
export const envelopeClaims = ({ record, descriptor, table }: Envelope): Claims => ({
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

/** The claims of a file whose streams begin at `frontLength`; `heldLength` bytes of them are there, where that is known. */
export const fileClaims = (envelope: Envelope, frontLength: number, heldLength: number | null): Claims => {
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

/** The claims of an envelope, session or receipt, whichever its first four bytes name; `NotAuthentic` where it is none. */
export const recordClaims = (bytes: Uint8Array): Claims => {
  const begins = (magic: string) => equal(bytes.subarray(0, 4), utf8(magic))
  if (begins('SKE1')) return envelopeClaims(parseEnvelope(bytes))
  if (begins('SKU1')) {
    const { suite, bodyId, record } = parseSession(bytes)
    return { kind: 'session', verified: false, suite: suiteClaims(suite), bodyId: hex(bodyId), key: keyClaims(record) }
  }
  if (!begins('SKR1')) throw new SseError('NotAuthentic')
  const { row, values } = parseReceipt(bytes)
  return { kind: 'receipt', verified: false, parts: [partClaims(row)], sealedLength: values.length }
}
