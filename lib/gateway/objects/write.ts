/**
 * Writes an object by its plan: the body is decoded and checked, sealed while it flows into the store, and committed with its record in one step.
 * The end of the body comes only after every check held, so a body that failed one is never committed, and the old object stays whole.
 */
import { hex } from '../../bytes.ts'
import type { SegmentMemory } from '../../cipher/memory.ts'
import { valueIds, type Values } from '../../envelope/sealed-values.ts'
import type { WithDriver } from '../../object/sse.ts'
import type { EncryptionKind } from '../../sse/names.ts'
import { inlineLimit } from '../../store/body-draft.ts'
import { assertCondition } from '../../store/condition.ts'
import type { BodyWriter } from '../../store/store.ts'
import type { NewObject, ObjectCondition, ObjectNotes, ObjectRecord } from '../../store/records.ts'
import type { JudgedBucket } from '../access/access.ts'
import { type BodyDigests, type IncomingBody, through } from '../body/body.ts'
import type { ChecksumAlgorithm } from '../body/checksums.ts'
import { type BodyStage, pour } from '../http/pour.ts'
import type { Services } from '../services.ts'
import { noteChecksums, receivedChecksums, type StoredChecksum } from './checksums.ts'
import { noteEncryption, wipeKey, type WriteEncryption } from './encryption.ts'

/** Everything that was decided of a write before its body comes. */
export interface WritePlan {
  /** Judged; the write is committed to it. */
  readonly bucket: JudgedBucket
  readonly key: string
  readonly encryption: WriteEncryption
  /** Kept and answered as they are. */
  readonly headers: Readonly<Record<string, string>>
  /** Notes that the request asks for: its ACL and tags. */
  readonly notes: ObjectNotes
  /** Looked at before the body is asked for, and again in the step that makes the object. */
  readonly condition: ObjectCondition
  /** The digests that the body needs. */
  readonly digests: BodyDigests
}

/** An object that was written. */
export interface WrittenObject {
  readonly record: ObjectRecord
  /** What is answered of its checksum. */
  readonly checksums: readonly StoredChecksum[]
}

/** Whether clients expect the ETag of such an object to be the MD5 of its plaintext. */
export const hasMd5Etag = (kind: EncryptionKind): boolean => kind === 'plain' || kind === 'sse-s3'

/** The MD5 of a body that has ended, as an ETag. */
export const md5Of = ({ digests }: IncomingBody): string => hex(digests().get('md5') ?? new Uint8Array(0))

/** Digests that the body of an object of this kind needs: for its ETag, and `otherwise` for its checksum. */
export const digestsFor = (kind: EncryptionKind, otherwise: ChecksumAlgorithm | undefined): BodyDigests => ({
  always: hasMd5Etag(kind) ? ['md5'] : [],
  otherwise,
})

/** What is sealed beside a body: its checksum, the one of its upload, and the MD5 where it is the ETag. */
export const valuesOf = (incoming: IncomingBody, kind: EncryptionKind, ofUpload?: ChecksumAlgorithm): Values => {
  const values = new Map<number, Uint8Array>()
  for (const [name, digest] of incoming.digests()) {
    if (name === incoming.checksum || name === ofUpload || (name === 'md5' && hasMd5Etag(kind)))
      values.set(valueIds[name].id, digest)
  }
  return values
}

/**
 * What a body of this length is sealed into: memory that is used again for one that is written to the body store while it comes. A smaller one
 * waits for the index.
 */
export const outputFor = ({ output }: Services, length = 0): SegmentMemory | undefined =>
  length > inlineLimit ? output : undefined

/** What seals a body while it comes, and the memory that it seals into. */
interface Seal {
  readonly stage: BodyStage
  readonly memory: SegmentMemory | undefined
}

/** Fills a body from the request, through its checks and, where given, a seal; discards it where anything fails. */
export const fill = async (body: BodyWriter, incoming: IncomingBody, seal?: Seal): Promise<void> => {
  const stages = seal === undefined ? incoming.stages : [...incoming.stages, seal.stage]
  try {
    await pour(through(incoming.start(), stages), body.writable, seal?.memory)
  } catch (error) {
    await body.discard()
    throw error
  }
}

/** Waits for the body that takes a seal; wipes the seal's keys if the store cannot make one. */
export const bodyToSeal = async (body: Promise<BodyWriter>, { driver }: WithDriver): Promise<BodyWriter> => {
  try {
    return await body
  } catch (error) {
    driver.dispose()
    throw error
  }
}

/** A body in the store, belonging to nothing yet. */
interface ReceivedBody extends Pick<NewObject, 'size' | 'etag' | 'envelope' | 'values'> {
  readonly body: BodyWriter
  readonly checksums: readonly StoredChecksum[]
  readonly notes: ObjectNotes
}

const receive = async (
  services: Services,
  encryption: WriteEncryption,
  incoming: IncomingBody,
): Promise<ReceivedBody> => {
  const { store, sse } = services
  if (encryption.kind === 'plain') {
    const body = await store.createBody({ expectedSize: incoming.length })
    await fill(body, incoming)
    const checksums = receivedChecksums(incoming)
    return { body, size: body.size, etag: md5Of(incoming), checksums, notes: noteChecksums(checksums, 'plain') }
  }
  const { kind, options } = encryption
  const values = () => valuesOf(incoming, kind)
  const memory = outputFor(services, incoming.length)
  const put = await sse.encrypt({ ...options, length: incoming.length, values, memory })
  const body = await bodyToSeal(store.createBody({ expectedSize: put.planned?.storedLength }), put)
  await fill(body, incoming, { stage: source => put.pieces(source), memory })
  const sealed = put.result()
  const checksums = receivedChecksums(incoming)
  return {
    body,
    size: sealed.plaintextLength,
    etag: hasMd5Etag(kind) ? md5Of(incoming) : sealed.etag,
    envelope: sealed.envelope,
    values: sealed.values,
    checksums,
    notes: noteChecksums(checksums, kind),
  }
}

/** Runs a change that commits a body, which is discarded where it fails. */
export const commitBody = async <T>(body: BodyWriter, change: Promise<T>): Promise<T> => {
  try {
    return await change
  } catch (error) {
    await body.discard()
    throw error
  }
}

/** Writes an object; whatever fails, the old one is whole and nothing is left behind. Wipes the plan's customer key. */
export const writeObject = async (
  services: Services,
  plan: WritePlan,
  incoming: IncomingBody,
): Promise<WrittenObject> => {
  const { store } = services
  const { bucket, key, encryption, headers, condition } = plan
  try {
    if (Object.keys(condition).length > 0) assertCondition(await store.getObject(bucket.bucket.id, key), condition)
    const { body, checksums, notes, ...received } = await receive(services, encryption, incoming)
    const record: NewObject = {
      ...received,
      modified: services.now(),
      kind: encryption.kind,
      headers,
      notes: { ...plan.notes, ...notes, ...noteEncryption(encryption) },
      owner: bucket.owner.domainId,
    }
    const change = bucket.commit(judged => store.putObject(judged, key, record, body, condition))
    return { record: await commitBody(body, change), checksums }
  } finally {
    wipeKey(encryption)
  }
}
