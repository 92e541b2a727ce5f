/**
 * Receives a body into the store: decoded and checked, sealed while it flows. The end of the stream comes only after every check held, so a
 * body that failed one is never committed.
 */
import { hex, wipe } from '../bytes.ts'
import { valueIds, type Values } from '../envelope/sealed-values.ts'
import type { Driven } from '../object/sse.ts'
import type { BodyWriter } from '../store/store.ts'
import { type IncomingBody, through } from './body.ts'
import type { Context } from './context.ts'
import type { ChecksumAlgorithm } from './checksums.ts'
import type { WriteEncryption } from './encryption.ts'
import { type BodyStage, pour } from './pour.ts'
import type { RequestBodyOptions } from './request-body.ts'
import { noteChecksums, receivedChecksums, type StoredChecksum } from './stored-checksums.ts'

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
export const defaultChecksum = ({ options }: Context): ChecksumAlgorithm | undefined =>
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
  ctx: Context,
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
export const bodyToSeal = async (body: Promise<BodyWriter>, { driver }: Driven): Promise<BodyWriter> => {
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
