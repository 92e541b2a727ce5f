/**
 * Receives a body into the store: decoded and checked, sealed while it flows. The end of the stream comes only after every check held, so a
 * body that failed one is never committed.
 */
import { hex, wipe } from '../../bytes.ts'
import { valueIds, type Values } from '../../envelope/sealed-values.ts'
import type { WithDriver } from '../../object/sse.ts'
import type { AnsweredOperation } from '../../sse/response.ts'
import type { BodyWriter, Condition, ObjectRecord } from '../../store/store.ts'
import { refuseStranger } from '../access/access.ts'
import { type IncomingBody, type RequestBodyOptions, through } from '../body/body.ts'
import type { ChecksumAlgorithm } from '../body/checksums.ts'
import type { GatewayRequest, OwnedBucket } from '../context.ts'
import type { AnswerHeaders } from '../http/answer.ts'
import { type BodyStage, pour } from '../http/pour.ts'
import { checksumHeaders, noteChecksums, receivedChecksums, type StoredChecksum } from './checksums.ts'
import { decideWrite, encryptionHeaders, noteEncryption, type WriteEncryption } from './encryption.ts'
import { objectHeaders, requestedAttributes } from './record.ts'

/** A body in the store, belonging to nothing yet. */
export interface ReceivedBody {
  readonly body: BodyWriter
  /** Bytes of plaintext. */
  readonly size: number
  /** Without quotes. */
  readonly etag: string
  readonly envelope: Uint8Array | undefined
  readonly values: Uint8Array | undefined
  /** What is answered of its checksum. */
  readonly checksums: readonly StoredChecksum[]
  /** What is noted of it. */
  readonly notes: Readonly<Record<string, string>>
}

/** Whether clients expect the ETag of such an object to be the MD5 of its plaintext (semantics, section 4). */
export const hasMd5Etag = (kind: WriteEncryption['kind']): boolean => kind === 'plain' || kind === 'sse-s3'

/** The MD5 of a body that has ended, as an ETag. */
export const md5Of = ({ digests }: IncomingBody): string =>
  [...digests()].flatMap(([name, digest]) => (name === 'md5' ? [hex(digest)] : [])).join('')

/** The checksum that a body gets where its client sends none. */
export const defaultChecksum = ({ options }: GatewayRequest): ChecksumAlgorithm | undefined =>
  options.profile.defaultChecksum === 'none' ? undefined : options.profile.defaultChecksum

/** Digests that the body of an object of this kind needs: for its ETag, and `otherwise` for its checksum. */
export const digestsFor = (
  kind: WriteEncryption['kind'],
  otherwise: ChecksumAlgorithm | undefined,
): RequestBodyOptions => ({ always: hasMd5Etag(kind) ? ['md5'] : [], otherwise })

/** What is sealed beside a body: its checksum, the one of its upload, and the MD5 where it is the ETag. */
export const valuesOf = (
  incoming: IncomingBody,
  kind: WriteEncryption['kind'],
  ofUpload?: ChecksumAlgorithm,
): Values => {
  const values = new Map<number, Uint8Array>()
  for (const [name, digest] of incoming.digests()) {
    if (name === incoming.checksum || name === ofUpload || (name === 'md5' && hasMd5Etag(kind)))
      values.set(valueIds[name].id, digest)
  }
  return values
}

/** Receives the body of an object. Rejects with what is wrong with it, and leaves nothing behind then. Wipes a customer's key. */
export const receiveObject = async (
  ctx: GatewayRequest,
  encryption: WriteEncryption,
  incoming: IncomingBody,
): Promise<ReceivedBody> => {
  const { store, sse } = ctx.options
  const { kind } = encryption
  if (encryption.kind === 'plain') {
    const body = await store.createBody({ expectedSize: incoming.length })
    await fill(body, incoming)
    const checksums = receivedChecksums(incoming)
    const sealed = { envelope: undefined, values: undefined }
    return { body, size: body.size, etag: md5Of(incoming), ...sealed, checksums, notes: noteChecksums(checksums) }
  }
  try {
    const values = () => valuesOf(incoming, kind)
    const put = await sse.encrypt({ ...encryption.options, length: incoming.length, values })
    const body = await bodyToSeal(store.createBody({ expectedSize: put.planned?.storedLength }), put)
    await fill(body, incoming, source => put.pieces(source))
    const sealed = put.result()
    const etag = hasMd5Etag(kind) ? md5Of(incoming) : sealed.etag
    const { envelope, plaintextLength: size } = sealed
    const checksums = receivedChecksums(incoming)
    return { body, size, etag, envelope, values: sealed.values, checksums, notes: {} }
  } finally {
    wipe(encryption.options.customerKey)
  }
}

/** A body of the store, for what is about to be sealed: its keys are wiped where there is none. */
export const bodyToSeal = async (body: Promise<BodyWriter>, { driver }: WithDriver): Promise<BodyWriter> => {
  try {
    return await body
  } catch (error) {
    driver.dispose()
    throw error
  }
}

/** Fills a body from the request, through its checks and, where given, a seal; discards it where anything fails. */
export const fill = async (body: BodyWriter, incoming: IncomingBody, ...seal: readonly BodyStage[]): Promise<void> => {
  try {
    await pour(through(incoming.start(), [...incoming.stages, ...seal]), body.writable)
  } catch (error) {
    await body.discard()
    throw error
  }
}

/** How an object is written. */
export interface ObjectWrite {
  readonly operation: Extract<AnsweredOperation, 'put' | 'post'>
  readonly owned: OwnedBucket
  readonly key: string
  /** Asked before the body is, and again in the step that makes the object. */
  readonly condition?: Condition | undefined
  /** The body, once it is known which digests it needs in any case. */
  body(digests: RequestBodyOptions): IncomingBody
}

/** An object that was written. */
export interface WrittenObject {
  readonly record: ObjectRecord
  /** What the answer says of it: its ETag, its checksum and its encryption. */
  readonly headers: AnswerHeaders
}

/** Writes an object as its request's headers ask for it; whatever fails, the old one is whole. */
export const writeObject = async (
  ctx: GatewayRequest,
  { operation, owned, key, condition, body }: ObjectWrite,
): Promise<WrittenObject> => {
  const { bucket, owner } = owned
  const { store } = ctx.options
  const headers = objectHeaders(ctx.headers)
  const asked = requestedAttributes(ctx, owned, key)
  const encryption = await decideWrite(ctx, owned, key)
  const { kind } = encryption
  const change: Condition = current => {
    refuseStranger(owned, current)
    condition?.(current)
  }
  try {
    if (condition !== undefined || !owned.own) change(await store.getObject(bucket.name, key))
    const received = await receiveObject(ctx, encryption, body(digestsFor(kind, defaultChecksum(ctx))))
    const { size, etag, envelope, values, checksums, notes } = received
    const attributes = { ...asked, ...notes, ...noteEncryption(encryption) }
    const record = await store.putObject(
      bucket.name,
      key,
      { size, etag, modified: ctx.now(), kind, headers, attributes, owner: owner.domainId, envelope, values },
      received.body,
      { condition: change },
    )
    const answer = encryption.kind === 'plain' ? encryption : encryption.answer
    const told = { ...checksumHeaders(checksums), ...encryptionHeaders(ctx, operation, answer) }
    return { record, headers: { etag: `"${etag}"`, ...told } }
  } finally {
    if (encryption.kind !== 'plain') wipe(encryption.options.customerKey)
  }
}
