/** The object format held to `sk1.json`, byte for byte, over every engine: what must open, what must be refused, and what sealing gives. */
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { base64url, concat, hex, type MaybePromise } from '../../lib/bytes.ts'
import { deriveBody, deriveStream, streamContext, uploadIdentity } from '../../lib/cipher/derive.ts'
import type { Engine } from '../../lib/cipher/engine.ts'
import { type SuiteId, suiteOf } from '../../lib/cipher/suite.ts'
import { objectEtag, parseDescriptor, partEtag, sealDescriptor } from '../../lib/envelope/descriptor.ts'
import {
  encodeEnvelope,
  encodeReceipt,
  encodeSession,
  fromText,
  parseEnvelope,
  parseReceipt,
  parseSession,
} from '../../lib/envelope/envelope.ts'
import { encodeTable, type PartRow } from '../../lib/envelope/part-table.ts'
import { openValues, partAad, sealValues } from '../../lib/envelope/sealed-values.ts'
import { encodeRecord, parseRecord } from '../../lib/envelope/wrap-record.ts'
import { SseError } from '../../lib/errors.ts'
import { clientContext, encryptionContext } from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import type { AcceptedKey, KmsProvider, WrapAlg, WrappedKey } from '../../lib/kms/provider.ts'
import { type Providers, providersOf } from '../../lib/kms/providers.ts'
import { wrapLocal, wrapNested } from '../../lib/kms/wrap.ts'
import { decryptBody, unlock, type UnlockParts } from '../../lib/object/decrypt.ts'
import { encryptBody } from '../../lib/object/encrypt.ts'
import { decryptFile, decryptPipe, type RandomAccess } from '../../lib/object/file.ts'
import { completeUpload, encryptPart, listParts } from '../../lib/object/multipart.ts'
import { type CompletableUpload, createUpload, openForComplete, openUpload } from '../../lib/object/upload.ts'
import { open, seal } from '../../lib/segment/select.ts'
import {
  plaintextLength,
  type RangeRequest,
  resolveRange,
  segmentRange,
  storedLength,
} from '../../lib/segment/layout.ts'
import type { Span } from '../../lib/segment/reader.ts'
import { engines } from '../support/engines.ts'
import { drive, driven, inRandomChunks, seeded } from '../support/drive.ts'
import { withDraws } from '../support/randomness.ts'
import { type Answer, type CountingKms, stubAnswers, stubLocal } from '../support/stub-kms.ts'
import { bytes, vectors } from '../support/vectors.ts'

type Entries = Readonly<Record<string, string>>
type Pairs = readonly (readonly [string, string])[]
type Items = readonly (readonly [number, string])[]
type Accepted = readonly (readonly [string, string, number?])[]

type Attempts = readonly { readonly part: number; readonly salt: string; readonly stored: string }[]

interface Range {
  readonly from?: number
  readonly to?: number
  readonly suffix?: number
  readonly firstStored?: number
  readonly lastStored?: number
  readonly sha256: string
}

interface Stream {
  readonly name: string
  readonly suite: SuiteId
  readonly part: number
  readonly salt: string
  readonly key: string
  readonly baseNonce: string
  readonly commitment: string
  readonly plaintextLength: number
  readonly plaintextSha256: string
  readonly storedLength: number
  readonly head: string
  readonly tail: string
  readonly sha256: string
  readonly stored?: string
  readonly ranges?: readonly Range[]
}

interface StoredObject {
  readonly name: string
  readonly suite: SuiteId
  readonly unknownLength: boolean
  readonly parts: readonly { readonly part: number; readonly length: number; readonly salt: string }[]
  readonly table: string
  readonly descriptor: string
  readonly partEtags: readonly string[]
  readonly etag: string
  readonly plaintextLength: number
  readonly plaintextSha256: string
  readonly storedLength: number
  readonly bodySha256: string
  readonly ranges: readonly Range[]
}

interface WrapVector {
  readonly name: string
  readonly wrapAlg: WrapAlg
  readonly provider: string
  readonly keyId: string
  readonly user: Pairs
  readonly system: Entries
  readonly bucketContext: Entries | null
  readonly dek: string
  readonly blob: string
  readonly record: string
  readonly context: string
  readonly contextSha256: string
  readonly version?: number
  readonly wrapSalt?: string
  readonly outerKey?: string
  readonly inner?: string
  readonly innerWrapSalt?: string
}

interface Mutation {
  readonly op: 'xor' | 'set' | 'cut' | 'append' | 'swap' | 'none'
  readonly at?: number
  readonly mask?: number
  readonly hex?: string
  readonly length?: number
  readonly a?: readonly [number, number]
  readonly b?: readonly [number, number]
}

interface Invalid {
  readonly kind: string
  readonly name: string
  readonly of?: string
  readonly mutation?: Mutation
  readonly released?: number
  readonly part?: number
  readonly table?: string
  readonly descriptor?: string
  readonly user?: Pairs
  readonly system?: Entries
  readonly bucketContext?: Entries | null
  readonly record?: string
  readonly envelope?: string
  readonly text?: string
  readonly repeat?: number
  readonly after?: readonly string[]
  readonly receipts?: readonly string[]
  readonly attempts?: Attempts
  readonly kmsCalls?: number
  readonly accepted?: Accepted
  readonly uploadId?: string
  readonly session?: string
  readonly receipt?: string
  readonly aad?: string
  readonly sealed?: string
  readonly named?: readonly (readonly [number, string])[]
  readonly md5?: boolean
  readonly reason: string
}

interface Sk1 {
  readonly format: string
  readonly dek: string
  readonly bodyId: string
  readonly kDesc: string
  readonly kEtag: string
  readonly kAux: string
  readonly keys: {
    readonly local: Readonly<Record<string, Readonly<Record<string, string>>>>
    readonly customer: string
    readonly answers: readonly Answer[]
  }
  readonly streams: readonly Stream[]
  readonly lengths: readonly { readonly suite: SuiteId; readonly plaintext: number; readonly stored: number }[]
  readonly objects: readonly StoredObject[]
  readonly contexts: readonly {
    readonly name: string
    readonly user: Pairs
    readonly system: Entries
    readonly stored: string
    readonly canonical: string
    readonly sha256: string
  }[]
  readonly records: readonly WrapVector[]
  readonly envelopes: readonly {
    readonly name: string
    readonly object: string
    readonly record: string
    readonly accepted: Accepted
    readonly envelope: string
    readonly text: string
  }[]
  readonly files: readonly {
    readonly name: string
    readonly object: string
    readonly record: string
    readonly accepted: Accepted
    readonly length: number
    readonly sha256: string
    readonly file?: string
  }[]
  readonly sessions: readonly {
    readonly name: string
    readonly suite: SuiteId
    readonly recordName: string
    readonly session: string
    readonly uploadId: string
    readonly own: string
    readonly withOwn: string
  }[]
  readonly completionKeys: readonly {
    readonly name: string
    readonly suite: SuiteId
    readonly recordName: string
    readonly service: Omit<WrapVector, 'name'>
    readonly z: string
    readonly nonce: string
    readonly accepted: Accepted
    readonly sealed: string
    readonly session: string
    readonly uploadId: string
    readonly own: string
    readonly withOwn: string
    readonly completes: readonly {
      readonly case: string
      readonly envelope: string
      readonly plaintextLength: number
      readonly plaintextSha256: string
    }[]
  }[]
  readonly receipts: readonly {
    readonly name: string
    readonly part: number
    readonly P: number
    readonly salt: string
    readonly nonce: string | null
    readonly items: Items | null
    readonly receipt: string
    readonly etag: string
  }[]
  readonly sealedValues: readonly {
    readonly name: string
    readonly aad: string
    readonly nonce: string
    readonly items: Items
    readonly known: Items
    readonly sealed: string
  }[]
  readonly complete: {
    readonly suite: SuiteId
    readonly receipts: readonly string[]
    readonly attempts: Attempts
    readonly listings: readonly {
      readonly name: string
      readonly md5: boolean
      readonly receipts: readonly string[]
      readonly listed: readonly ({ readonly part: number; readonly P: number; readonly etag: string } | null)[]
    }[]
    readonly cases: readonly {
      readonly name: string
      readonly named: readonly (readonly [number, string])[]
      readonly md5: boolean
      readonly receipts?: readonly string[]
      readonly attempts?: Attempts
      readonly table: string
      readonly descriptor: string
      readonly etag: string
    }[]
  }
  readonly invalid: readonly Invalid[]
}

const file = vectors<Sk1>('sk1.json')
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
const none = new Uint8Array(0)

/** Byte i of part p. */
const plaintextOf = (part: number, length: number): Uint8Array => {
  const out = new Uint8Array(length)
  for (let i = 0; i < length; i++) out[i] = (i ^ (i >> 8) ^ (i >> 16) ^ part) & 255
  return out
}

const mutated = (stored: Uint8Array, mutation: Mutation): Uint8Array => {
  const { op, at = 0, mask = 0, length = 0, a = [0, 0], b = [0, 0] } = mutation
  const extra = bytes(mutation.hex ?? '')
  const out = stored.slice()
  if (op === 'xor') out[at] = (out[at] ?? 0) ^ mask
  if (op === 'set') out.set(extra, at)
  if (op === 'cut') return out.slice(0, length)
  if (op === 'append') return concat(out, extra)
  if (op === 'swap') {
    const [first, second] = [stored.slice(...a), stored.slice(...b)]
    return concat(stored.slice(0, a[0]), second, stored.slice(a[1], b[0]), first, stored.slice(b[1]))
  }
  return out
}

const required = <T>(value: T | undefined | null): T => {
  if (value === undefined || value === null) throw new TypeError('the vectors lack a field')
  return value
}

const named = <T extends { readonly name: string }>(list: readonly T[], name: string | undefined): T =>
  required(list.find(entry => entry.name === name))

const mapOf = (items: Items): ReadonlyMap<number, Uint8Array> => new Map(items.map(([id, value]) => [id, bytes(value)]))

const acceptedKeys = (accepted: Accepted): readonly AcceptedKey[] =>
  accepted.map(([provider, keyId, lowestVersion]) => ({ provider, keyId, lowestVersion }))

const refusedBy = async (t: Test, run: () => MaybePromise<unknown>, name: string): Promise<void> => {
  try {
    await run()
    t.fail(`${name}: was not refused`)
  } catch (error) {
    t.type(error, SseError, name)
  }
}

const tests = (engine: Engine, sk1: Sk1, t: Test): void => {
  const dek = (): Uint8Array => bytes(sk1.dek)
  const bodyId = bytes(sk1.bodyId)
  const keys = { descriptor: bytes(sk1.kDesc), etag: bytes(sk1.kEtag), aux: bytes(sk1.kAux) }
  const local = Object.fromEntries(
    Object.entries(sk1.keys.local).map(([id, versions]) => [
      id,
      Object.fromEntries(Object.entries(versions).map(([version, key]) => [version, bytes(key)])),
    ]),
  )
  const providerOf = (name: string): KmsProvider & Partial<CountingKms> => {
    if (name === 'local') return stubLocal(local, engine)
    return name === 'sse-c' ? customerKey(engine, bytes(sk1.keys.customer)) : stubAnswers(name, sk1.keys.answers)
  }
  const unlockParts = (
    record: Pick<WrapVector, 'provider' | 'keyId' | 'system' | 'bucketContext'>,
    accepted: Accepted = [[record.provider, record.keyId]],
  ): UnlockParts & { readonly provider: Partial<CountingKms> } => {
    const provider = providerOf(record.provider)
    const providers: Providers = { customer: provider.name === 'sse-c', of: () => provider }
    return {
      engine,
      provider,
      providers,
      accept: acceptedKeys(accepted),
      context: record.system,
      bucketContext: record.bucketContext ?? undefined,
    }
  }
  const rowsOf = (object: StoredObject): readonly PartRow[] =>
    object.parts.map(({ part, length, salt }) => ({
      part,
      length: object.unknownLength ? Infinity : length,
      salt: bytes(salt),
    }))
  const sealStream = async (suite: SuiteId, part: number, salt: string, plaintext: Uint8Array): Promise<Uint8Array> => {
    const keys = await deriveStream(engine, suiteOf(suite), dek(), bytes(salt), streamContext(bodyId, part))
    const parts = { suite: suiteOf(suite), keys, salt: bytes(salt), length: plaintext.length }
    return driven(seal(engine, parts), inRandomChunks(plaintext, seeded(part)))
  }
  const bodyOf = async (object: StoredObject): Promise<Uint8Array> => {
    const streams: Uint8Array[] = []
    for (const { part, length, salt } of object.parts) {
      streams.push(await sealStream(object.suite, part, salt, plaintextOf(part, length)))
    }
    return concat(...streams)
  }
  const plaintextOfObject = (object: StoredObject): Uint8Array =>
    concat(...object.parts.map(({ part, length }) => plaintextOf(part, length)))
  const requestOf = ({ from = 0, to, suffix }: Range): RangeRequest =>
    suffix === undefined ? { start: from, end: to } : { suffix }
  const envelopeOf = (object: StoredObject, record: string): Uint8Array =>
    concat(bytes('534b4531'), bytes(named(sk1.records, record).record), bytes(object.descriptor), bytes(object.table))
  const fileOf = async (entry: Sk1['files'][number]): Promise<Uint8Array> => {
    const object = named(sk1.objects, entry.object)
    const envelope = envelopeOf(object, entry.record)
    const size = new Uint8Array(4)
    new DataView(size.buffer).setUint32(0, envelope.length)
    return concat(bytes('534b4631'), size, envelope, await bodyOf(object))
  }
  const randomAccess = (data: Uint8Array): RandomAccess => ({
    size: data.length,
    read: async (start, end) => data.slice(start, end + 1),
  })

  t.test('keys of the body', async t => {
    const derived = await deriveBody(engine, dek(), bodyId)
    t.strictSame(Object.values(derived).map(hex), [sk1.kDesc, sk1.kEtag, sk1.kAux])
  })

  t.test('streams', async t => {
    for (const stream of sk1.streams) {
      const { name, part } = stream
      const suite = suiteOf(stream.suite)
      const context = streamContext(bodyId, part)
      const salt = bytes(stream.salt)
      const derived = await deriveStream(engine, suite, dek(), salt, context)
      t.strictSame(
        [derived.key, derived.baseNonce, derived.commitment].map(hex),
        [stream.key, stream.baseNonce, stream.commitment],
        `${name}: keys`,
      )
      const plaintext = plaintextOf(part, stream.plaintextLength)
      const stored = await sealStream(stream.suite, part, stream.salt, plaintext)
      t.equal(stored.length, stream.storedLength, `${name}: length`)
      t.equal(storedLength(suite, stream.plaintextLength), stream.storedLength)
      t.equal(plaintextLength(suite, stream.storedLength), stream.plaintextLength)
      t.equal(hex(stored.subarray(0, 72)), stream.head, `${name}: head`)
      t.equal(hex(stored.subarray(-32)), stream.tail, `${name}: tail`)
      t.equal(sha256(stored), stream.sha256, `${name}: all of it`)
      if (stream.stored !== undefined) t.equal(hex(stored), stream.stored, `${name}: stored`)
      for (const known of [true, false]) {
        const span: Span = {
          salt: known ? salt : undefined,
          context,
          firstSegment: 0,
          stored: known ? stored.length : Infinity,
          last: true,
        }
        const driver = open(engine, { suite, dek: dek(), spans: [span] })
        const opened = await driven(driver, inRandomChunks(stored, seeded(part + 1)))
        t.equal(sha256(opened), stream.plaintextSha256, `${name}: opens, ${known ? 'with' : 'without'} a table`)
      }
      for (const range of stream.ranges ?? []) {
        const { from = 0, to = 0, firstStored = 0, lastStored = 0 } = range
        const run = segmentRange(suite, stream.plaintextLength, { start: from, end: to })
        // The vectors name the segments; a run that begins with segment 0 has the header in front.
        t.equal(Math.max(run.storedStart, 56), firstStored, `${name}: ${from}-${to}, first stored byte`)
        t.equal(run.storedEnd - 1, lastStored, `${name}: ${from}-${to}, last stored byte`)
        const span: Span = {
          salt,
          context,
          firstSegment: run.firstSegment,
          stored: run.storedEnd - run.storedStart,
          last: run.storedEnd === stored.length,
        }
        const slice = { skip: from - run.plaintextStart, take: to - from + 1 }
        const driver = open(engine, { suite, dek: dek(), spans: [span], ...slice })
        const opened = await driven(driver, [stored.subarray(run.storedStart, run.storedEnd)])
        t.equal(sha256(opened), range.sha256, `${name}: ${from}-${to}`)
      }
    }
  })

  t.test('lengths', async t => {
    for (const { suite, plaintext, stored } of sk1.lengths) {
      t.equal(storedLength(suiteOf(suite), plaintext), stored)
      t.equal(plaintextLength(suiteOf(suite), stored), plaintext)
    }
  })

  t.test('objects', async t => {
    for (const object of sk1.objects) {
      const { name } = object
      const suite = suiteOf(object.suite)
      const rows = rowsOf(object)
      const { descriptor, table } = await sealDescriptor(engine, keys.descriptor, suite, bodyId, rows)
      t.equal(hex(table), object.table, `${name}: table`)
      t.equal(hex(encodeTable(rows)), object.table)
      t.equal(hex(descriptor), object.descriptor, `${name}: descriptor`)
      const parsed = parseDescriptor(descriptor, object.unknownLength)
      t.equal(await objectEtag(engine, keys.etag, parsed), object.etag, `${name}: ETag`)
      const etags: string[] = []
      for (const row of rows.filter(({ part }) => part > 0)) etags.push(await partEtag(engine, keys.etag, row))
      t.strictSame(etags, object.partEtags, `${name}: ETags of the parts`)
      const body = await bodyOf(object)
      t.equal(sha256(body), object.bodySha256, `${name}: body`)
      t.equal(body.length, object.storedLength)
      t.equal(sha256(plaintextOfObject(object)), object.plaintextSha256)
      if (object.unknownLength) continue
      const envelope = envelopeOf(object, 'local')
      const parts = { ...unlockParts(named(sk1.records, 'local')), envelope, held: body.length, etag: object.etag }
      const whole = await decryptBody(parts, parts)
      t.strictSame(whole.stored, { start: 0, end: body.length - 1 })
      t.equal(sha256(await driven(whole.driver, [body])), object.plaintextSha256, `${name}: opens`)
      for (const range of object.ranges) {
        const request = requestOf(range)
        const { driver, stored, length, range: bounds } = await decryptBody(parts, { ...parts, range: request })
        t.strictSame(bounds, resolveRange(request, object.plaintextLength))
        const opened = await driven(driver, [body.subarray(stored.start, stored.end + 1)])
        t.equal(opened.length, length)
        t.equal(sha256(opened), range.sha256, `${name}: ${JSON.stringify(request)}`)
        const piped = await decryptBody(parts, { ...parts, range: request, sequential: true })
        t.equal(sha256(await driven(piped.driver, [body])), range.sha256, `${name}: ${JSON.stringify(request)}, piped`)
      }
    }
  })

  t.test('contexts', async t => {
    for (const { name, user, system, stored, canonical, sha256: hash } of sk1.contexts) {
      const context = clientContext(new Map(user), system)
      t.equal(hex(context.stored), stored, `${name}: stored`)
      t.equal(hex(context.canonical), canonical, `${name}: canonical`)
      t.equal(hex(await engine.sha256(context.canonical)), hash, `${name}: hash`)
    }
  })

  t.test('wrap records', async t => {
    for (const record of sk1.records) {
      const { name, wrapAlg, provider, keyId, version = 0 } = record
      const context = clientContext(new Map(record.user), record.system)
      const wrapped: WrappedKey = { provider, keyId, wrapAlg, blob: bytes(record.blob) }
      t.equal(hex(encodeRecord(wrapped, context.stored).bytes), record.record, `${name}: encodes`)
      const parsed = parseRecord(bytes(record.record))
      t.strictSame({ ...parsed.wrapped, blob: hex(parsed.wrapped.blob) }, { ...wrapped, blob: record.blob })
      t.equal(hex(parsed.context), hex(context.stored), `${name}: user context`)
      const key = await unlock(parsed, unlockParts(record))
      t.equal(hex(key.bytes), record.dek, `${name}: unwraps`)
      const bucket = encryptionContext(record.bucketContext ?? {})
      const masterKey = provider === 'sse-c' ? bytes(sk1.keys.customer) : required(local['key-a'])[version]
      if (wrapAlg === 2) {
        const blob = await withDraws([bytes(required(record.wrapSalt))], () =>
          wrapLocal(engine, required(masterKey), version, key, context),
        )
        t.equal(hex(blob), record.blob, `${name}: wraps`)
      }
      if (wrapAlg === 3 || wrapAlg === 4) {
        const outer = new DataKey(bytes(required(record.outerKey)))
        const inner = { provider, keyId, wrapAlg: 1, blob: bytes(required(record.inner)) } as const
        const nested = await withDraws([bytes(required(record.wrapSalt))], () =>
          wrapNested(engine, wrapAlg, outer, inner, key, context),
        )
        t.equal(hex(nested.blob), record.blob, `${name}: wraps`)
        if (record.innerWrapSalt !== undefined) {
          const made = await withDraws([bytes(record.innerWrapSalt)], () =>
            wrapLocal(engine, required(masterKey), version, outer, bucket),
          )
          t.equal(hex(made), record.inner, `${name}: wraps the bucket key`)
        }
      }
    }
  })

  t.test('envelopes', async t => {
    for (const entry of sk1.envelopes) {
      const { name, envelope, text } = entry
      const parsed = parseEnvelope(fromText(text))
      const { record, descriptor, table } = parsed
      t.equal(hex(encodeEnvelope(record, descriptor.bytes, table)), envelope, `${name}: bytes`)
      t.equal(base64url(bytes(envelope)), text, `${name}: text`)
      t.equal(hex(envelopeOf(named(sk1.objects, entry.object), entry.record)), envelope)
      const object = named(sk1.objects, entry.object)
      const source = named(sk1.records, entry.record)
      const got = await decryptBody(unlockParts(source, entry.accepted), { envelope: bytes(envelope) })
      t.equal(got.keyId, source.keyId)
      t.equal(got.etag, object.etag)
      t.equal(sha256(await driven(got.driver, [await bodyOf(object)])), object.plaintextSha256, `${name}: opens`)
    }
  })

  t.test('files', async t => {
    for (const entry of sk1.files) {
      const { name } = entry
      const object = named(sk1.objects, entry.object)
      const record = named(sk1.records, entry.record)
      const data = await fileOf(entry)
      t.equal(data.length, entry.length)
      t.equal(sha256(data), entry.sha256, `${name}: bytes`)
      if (entry.file !== undefined) t.equal(hex(data), entry.file)
      const plaintext = plaintextOfObject(object)
      const parts = unlockParts(record, entry.accepted)
      const size = plaintext.length
      const requests: readonly (RangeRequest | undefined)[] = [
        undefined,
        { start: 0, end: 0 },
        { start: size - 1 },
        { start: size >> 1, end: (size >> 1) + 99 },
        { start: 1, end: size + 5 },
        { suffix: 7 },
      ]
      for (const range of requests) {
        const { start, end } = resolveRange(range ?? { start: 0 }, size)
        const expected = hex(plaintext.subarray(start, end + 1))
        const label = `${name}: ${JSON.stringify(range)}`
        const got = await decryptFile(randomAccess(data), { ...parts, range })
        t.equal(got.length, end - start + 1)
        t.equal(got.plaintextLength, size)
        const opened = await driven(got.driver, [data.subarray(got.stored.start, got.stored.end + 1)])
        t.ok(hex(opened) === expected, `${label}, from a file`)
        const piped = await drive(decryptPipe({ ...parts, range }), inRandomChunks(data, seeded(size)))
        if (object.unknownLength && range !== undefined && 'suffix' in range) {
          t.match(piped.error, { code: 'RangeNotSatisfiable' }, `${label}, from a pipe: no suffix of an unknown length`)
          t.equal(piped.released.length, 0)
        } else {
          t.ok(piped.error === undefined && hex(piped.released) === expected, `${label}, from a pipe`)
        }
      }
      for (const request of [{ start: size }, { suffix: 0 }]) {
        await t.rejects(decryptFile(randomAccess(data), { ...parts, range: request }), { code: 'RangeNotSatisfiable' })
        const { released, error } = await drive(decryptPipe({ ...parts, range: request }), [data])
        t.match(error, { code: 'RangeNotSatisfiable' })
        t.equal(released.length, 0)
      }
    }
  })

  t.test('encrypting with the same draws gives the same bytes', async t => {
    for (const entry of [...sk1.files, ...sk1.envelopes]) {
      const object = named(sk1.objects, entry.object)
      const record = named(sk1.records, entry.record)
      const row = required(object.parts[0])
      if (record.wrapAlg !== 2 || object.parts.length !== 1) continue // their draws are of other machines
      const isFile = 'sha256' in entry
      const encryption = await withDraws([dek(), bytes(required(record.wrapSalt)), bodyId, bytes(row.salt)], () =>
        encryptBody({
          engine,
          suite: suiteOf(object.suite),
          provider: providerOf(record.provider),
          keyId: record.keyId,
          context: clientContext(new Map(record.user), record.system),
          length: object.unknownLength ? undefined : object.plaintextLength,
          file: isFile,
        }),
      )
      const made = await driven(encryption.driver, [plaintextOfObject(object)])
      t.equal(sha256(made), isFile ? entry.sha256 : object.bodySha256, `${entry.name}: bytes`)
      if (!isFile) t.equal(hex(encryption.result().envelope), entry.envelope, `${entry.name}: envelope`)
      t.equal(encryption.result().etag, object.etag)
    }
  })

  t.test('sessions', async t => {
    for (const { name, suite, recordName, session, uploadId, own, withOwn } of sk1.sessions) {
      const record = named(sk1.records, recordName)
      t.equal(hex(encodeSession({ suite: suiteOf(suite), bodyId, record: parseRecord(bytes(record.record)) })), session)
      t.equal(hex(encodeSession(parseSession(bytes(session)))), session, `${name}: parses`)
      for (const id of [uploadId, withOwn]) {
        const opened = await openUpload(id, bytes(session), unlockParts(record))
        t.equal(hex(opened.key.bytes), sk1.dek, `${name}: ${id}`)
        opened.dispose()
      }
      if (record.wrapAlg !== 2) continue
      const create = (suffix?: string) =>
        withDraws([dek(), bytes(required(record.wrapSalt)), bodyId], () =>
          createUpload({
            engine,
            suite: suiteOf(suite),
            provider: providerOf(record.provider),
            keyId: record.keyId,
            context: clientContext(new Map(record.user), record.system),
            own: suffix,
          }),
        )
      t.equal(hex((await create()).session), session, `${name}: bytes`)
      t.equal((await create()).uploadId, uploadId, `${name}: uploadId`)
      t.equal((await create(own)).uploadId, withOwn, `${name}: with the store's own id`)
    }
  })

  const openSession = async (name = 'suite 1, local') => {
    const session = named(sk1.sessions, name)
    const record = named(sk1.records, session.recordName)
    return openUpload(session.uploadId, bytes(session.session), unlockParts(record))
  }

  t.test('receipts', async t => {
    const upload = await openSession()
    for (const { name, part, P, salt, nonce, items, receipt, etag } of sk1.receipts) {
      const parsed = parseReceipt(bytes(receipt))
      t.equal(hex(encodeReceipt(parsed)), receipt, `${name}: parses`)
      t.match(parsed.row, { part, length: P })
      t.equal(await partEtag(engine, keys.etag, parsed.row), etag, `${name}: ETag`)
      const values = await openValues(engine, keys.aux, partAad(parsed.row), parsed.values)
      t.strictSame(
        [...values].map(([id, value]) => [id, hex(value)]),
        items ?? [],
        `${name}: values`,
      )
      const attempt = await withDraws([bytes(salt)], () =>
        encryptPart(upload, part, { length: P, values: () => mapOf(items ?? []) }),
      )
      const stored = await withDraws(nonce === null ? [] : [bytes(nonce)], () =>
        driven(attempt.driver, [plaintextOf(part, P)]),
      )
      const made = attempt.result()
      t.equal(hex(made.receipt), receipt, `${name}: bytes`)
      t.equal(made.etag, etag)
      t.equal(made.attempt, salt)
      t.equal(made.storedLength, stored.length)
    }
    upload.dispose()
  })

  t.test('sealed values', async t => {
    for (const { name, aad, nonce, items, known, sealed } of sk1.sealedValues) {
      const opened = await openValues(engine, keys.aux, bytes(aad), bytes(sealed))
      t.strictSame(
        [...opened].map(([id, value]) => [id, hex(value)]),
        known,
        `${name}: opens`,
      )
      const made = await withDraws([bytes(nonce)], () =>
        sealValues(engine, keys.aux, bytes(aad), new Map([...mapOf(items)].reverse())),
      )
      t.equal(hex(made), sealed, `${name}: seals`)
    }
  })

  /** The attempts and receipts of `complete`, or a case's own. */
  const completing = (entry: Pick<Invalid, 'md5' | 'receipts' | 'attempts' | 'named'>, upload: CompletableUpload) => {
    const { named = [], md5, receipts = sk1.complete.receipts, attempts = sk1.complete.attempts } = entry
    return completeUpload(
      upload,
      named.map(([part, etag]) => ({ part, etag })),
      receipts.map(bytes),
      {
        md5,
        attempts: parts =>
          parts.map(({ attempt }) => {
            const found = attempts.find(({ salt }) => salt === attempt)
            if (found === undefined) return undefined
            return { length: found.stored.length / 2, salt: bytes(found.stored).subarray(0, 24) }
          }),
      },
    )
  }

  t.test('complete', async t => {
    const upload = await openSession()
    for (const entry of sk1.complete.cases) {
      const { name, md5, descriptor, table, etag, attempts = sk1.complete.attempts } = entry
      const done = await completing(entry, upload)
      const { record } = upload.session
      t.equal(hex(done.envelope), hex(encodeEnvelope(record, bytes(descriptor), bytes(table))), `${name}: envelope`)
      t.equal(done.token, descriptor)
      const digests = done.parts.map(({ values }) => values.get(1) ?? none)
      const ofParts = createHash('md5')
        .update(concat(...digests))
        .digest('hex')
      t.equal(md5 ? `${ofParts}-${digests.length}` : done.etag, etag, `${name}: ETag`)
      const body = concat(
        ...done.parts.map(({ attempt }) => bytes(required(attempts.find(({ salt }) => salt === attempt)).stored)),
      )
      t.equal(body.length, done.storedLength)
      const parts = unlockParts(named(sk1.records, 'local'))
      const got = await decryptBody(parts, { envelope: done.envelope, held: body.length })
      const plaintext = await driven(got.driver, [body])
      t.equal(plaintext.length, done.plaintextLength)
      let at = 0
      for (const [i, { length }] of done.parts.entries()) {
        const digest = createHash('md5')
          .update(plaintext.subarray(at, at + length))
          .digest('hex')
        if (md5) t.equal(digest, hex(digests[i] ?? none), `${name}: MD5 of part ${i}`)
        at += length
      }
    }
    upload.dispose()
  })

  t.test('listings', async t => {
    const upload = await openSession()
    for (const { name, md5, receipts, listed } of sk1.complete.listings) {
      const shown = (await listParts(upload, receipts.map(bytes), { md5 })).map(({ part, length, etag }) => {
        return { part, P: length, etag }
      })
      t.strictSame(
        shown,
        listed.filter(row => row !== null),
        name,
      )
      for (const [i, receipt] of receipts.entries()) {
        const alone = await listParts(upload, [bytes(receipt)], { md5 })
        t.equal(alone.length, listed[i] === null ? 0 : 1, `${name}: receipt ${i} alone`)
      }
    }
    upload.dispose()
  })

  t.test('completion keys', async t => {
    for (const entry of sk1.completionKeys) {
      const { name, service, accepted, session, uploadId, own, withOwn } = entry
      const suite = suiteOf(entry.suite)
      const record = named(sk1.records, entry.recordName)
      const parsed = parseSession(bytes(session))
      t.equal(hex(encodeSession(parsed)), session, `${name}: parses`)
      t.equal(hex(required(parsed.completion).record.bytes), service.record)
      t.equal(hex(required(parsed.completion).sealed), entry.sealed)
      for (const id of [uploadId, withOwn]) {
        const opened = await openForComplete(id, bytes(session), unlockParts(service, accepted))
        t.strictSame(Object.values(opened.keys).map(hex), [sk1.kDesc, sk1.kEtag, sk1.kAux], `${name}: by the service`)
        t.notOk('key' in opened, 'the data key is not there')
        opened.dispose()
        for (const open of [openUpload, openForComplete]) {
          const byCustomer = await open(id, bytes(session), unlockParts(record))
          t.strictSame(Object.values(byCustomer.keys).map(hex), [sk1.kDesc, sk1.kEtag, sk1.kAux], 'by the customer')
          if ('key' in byCustomer && byCustomer.key instanceof DataKey) t.equal(hex(byCustomer.key.bytes), sk1.dek)
          byCustomer.dispose()
        }
      }
      await t.rejects(openUpload(uploadId, bytes(session), unlockParts(service, accepted)), { code: 'KeyNotAccepted' })
      for (const done of entry.completes) {
        const upload = await openForComplete(uploadId, bytes(session), unlockParts(service, accepted))
        const { envelope, parts } = await completing(named(sk1.complete.cases, done.case), upload)
        t.equal(hex(envelope), done.envelope, `${name}: ${done.case}`)
        const body = concat(
          ...parts.map(part => bytes(required(sk1.complete.attempts.find(({ salt }) => salt === part.attempt)).stored)),
        )
        const got = await decryptBody(unlockParts(record), { envelope, held: body.length })
        const plaintext = await driven(got.driver, [body])
        t.strictSame([plaintext.length, sha256(plaintext)], [done.plaintextLength, done.plaintextSha256])
        upload.dispose()
      }
      if (service.wrapAlg !== 2) continue
      const keys = [dek(), bytes(required(record.wrapSalt)), bodyId]
      const draws = [...keys, bytes(entry.z), bytes(required(service.wrapSalt)), bytes(entry.nonce)]
      const context = clientContext(new Map(record.user), record.system)
      const made = await withDraws(draws, () =>
        createUpload({
          ...{ engine, suite, provider: providerOf('sse-c'), keyId: '', context, own },
          service: { provider: providerOf(service.provider), keyId: service.keyId, context },
        }),
      )
      t.strictSame([hex(made.session), made.uploadId], [session, withOwn], `${name}: bytes`)
    }
  })

  const refusals: Readonly<Record<string, (t: Test, entry: Invalid, name: string) => Promise<void>>> = {
    stream: async (t, { of, mutation, released = 0, part }, name) => {
      const stream = named(sk1.streams, of)
      const suite = suiteOf(stream.suite)
      const whole = await sealStream(
        stream.suite,
        stream.part,
        stream.salt,
        plaintextOf(stream.part, stream.plaintextLength),
      )
      const stored = mutated(whole, required(mutation))
      const context = streamContext(bodyId, part ?? stream.part)
      for (const known of [true, false]) {
        const span: Span = {
          salt: known ? bytes(stream.salt) : undefined,
          context,
          firstSegment: 0,
          stored: known ? whole.length : Infinity,
          last: true,
        }
        for (const chunks of [[stored], inRandomChunks(stored, seeded(released))]) {
          const outcome = await drive(open(engine, { suite, dek: dek(), spans: [span] }), chunks)
          t.type(outcome.error, SseError, name)
          // What the table's length ends may be released whole before the bytes after it are seen.
          const most = known && mutation?.op === 'append' ? stream.plaintextLength : released
          t.ok(outcome.released.length <= most, `${name}: ${outcome.released.length} released of ${most}`)
        }
      }
    },
    object: async (t, { of, mutation, descriptor, table }, name) => {
      const object = named(sk1.objects, of)
      const record = bytes(named(sk1.records, 'local').record)
      const envelope = concat(
        bytes('534b4531'),
        record,
        bytes(descriptor ?? object.descriptor),
        bytes(table ?? object.table),
      )
      const body = mutated(await bodyOf(object), mutation ?? { op: 'none' })
      const parts = { ...unlockParts(named(sk1.records, 'local')), envelope }
      await refusedBy(t, () => decryptBody(parts, { ...parts, held: body.length }), name)
      if (mutation === undefined) return
      const { driver } = await decryptBody(parts, parts)
      const { error } = await drive(driver, [body])
      t.type(error, SseError, `${name}: where the store does not tell its length`)
    },
    context: (t, { user, system }, name) =>
      refusedBy(t, () => clientContext(new Map(required(user)), required(system)), name),
    record: (t, { record, system, bucketContext }, name) =>
      refusedBy(
        t,
        () => {
          const parsed = parseRecord(bytes(required(record)))
          const { provider, keyId } = parsed.wrapped
          const accept = [{ provider, keyId }]
          return unlock(parsed, {
            engine,
            providers: providersOf([providerOf(provider)]),
            accept,
            context: system,
            bucketContext: bucketContext ?? undefined,
          })
        },
        name,
      ),
    envelope: (t, { envelope }, name) => refusedBy(t, () => parseEnvelope(bytes(required(envelope))), name),
    text: (t, { text, repeat = 1 }, name) => refusedBy(t, () => fromText(required(text).repeat(repeat)), name),
    unlock: async (t, { of, accepted, envelope, after = [], kmsCalls }, name) => {
      for (const before of after) {
        const { record, accepted, envelope } = named(sk1.envelopes, before)
        const { driver } = await decryptBody(unlockParts(named(sk1.records, record), accepted), {
          envelope: bytes(envelope),
        })
        driver.dispose()
      }
      const entry = named(sk1.envelopes, of)
      const parts = unlockParts(named(sk1.records, entry.record), required(accepted))
      await refusedBy(t, () => decryptBody(parts, { envelope: bytes(envelope ?? entry.envelope) }), name)
      t.equal(parts.provider.calls?.unwrap, kmsCalls, `${name}: calls to the KMS`)
    },
    file: async (t, { of, mutation, released = 0 }, name) => {
      const entry = named(sk1.files, of)
      const data = mutated(await fileOf(entry), required(mutation))
      const parts = unlockParts(named(sk1.records, entry.record), entry.accepted)
      await refusedBy(t, () => decryptFile(randomAccess(data), parts), name)
      for (const chunks of [[data], inRandomChunks(data, seeded(1))]) {
        const outcome = await drive(decryptPipe(parts), chunks)
        t.type(outcome.error, SseError, `${name}, from a pipe`)
        t.ok(outcome.released.length <= released, `${name}: ${outcome.released.length} released of ${released}`)
      }
    },
    uploadId: async (t, { uploadId, session }, name) => {
      const parts = unlockParts(named(sk1.records, 'aws'))
      await t.rejects(openUpload(required(uploadId), bytes(required(session)), parts), { code: 'NoSuchUpload' }, name)
    },
    session: (t, { session }, name) => refusedBy(t, () => parseSession(bytes(required(session))), name),
    completionKeys: async (t, { session = '', accepted = [], system = {}, bucketContext = null, kmsCalls }, name) => {
      const { provider, keyId } = required(sk1.completionKeys[0]).service
      const parts = unlockParts({ provider, keyId, system, bucketContext }, accepted)
      parseSession(bytes(session))
      const uploadId = base64url(await uploadIdentity(engine, bytes(session)))
      await refusedBy(t, () => openForComplete(uploadId, bytes(session), parts), name)
      t.equal(parts.provider.calls?.unwrap, kmsCalls, `${name}: calls to the KMS`)
    },
    receipt: (t, { receipt }, name) => refusedBy(t, () => parseReceipt(bytes(required(receipt))), name),
    sealed: (t, { aad, sealed }, name) =>
      refusedBy(t, () => openValues(engine, keys.aux, bytes(required(aad)), bytes(required(sealed))), name),
    complete: async (t, entry, name) => {
      const upload = await openSession()
      const [code] = entry.reason.split(/[:,]/)
      await t.rejects(completing(entry, upload), { code }, name)
      upload.dispose()
    },
  }

  t.test('what must be refused', async t => {
    for (const entry of sk1.invalid.filter(({ kind }) => kind !== 'completionKeys'))
      await required(refusals[entry.kind])(t, entry, `${entry.kind}: ${entry.name}`)
  })
}

t.test('the file', async t => {
  t.equal(file.format, 'SK1 test vectors')
  t.equal(file.invalid.length, 70)
})

for (const engine of engines) t.test(engine.name, async t => tests(engine, file, t))
