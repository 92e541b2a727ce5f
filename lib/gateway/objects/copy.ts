/**
 * Copies an object by its plan: inside a tenant a sealed object gets a new wrap record over the same bytes; whatever else is asked for is
 * decrypted and encrypted while it flows.
 */
import { SseError } from '../../errors.ts'
import type { ByteRange } from '../../segment/layout.ts'
import type { CopyPlan as WhatHappens } from '../../sse/copy.ts'
import type { BodyReader } from '../../store/store.ts'
import type { NewObject, ObjectRecord } from '../../store/records.ts'
import type { JudgedBucket } from '../access/access.ts'
import type { BodyDigests, IncomingBody } from '../body/body.ts'
import { type ChecksumAlgorithm, createDigest, type DigestAlgorithm } from '../body/checksums.ts'
import type { BodyStage } from '../http/pour.ts'
import type { ObjectName } from '../http/target.ts'
import type { Services } from '../services.ts'
import { checksumsOf, noteChecksums, notedChecksums, type StoredChecksum } from './checksums.ts'
import { noteEncryption, type ReadEncryption, type WriteEncryption } from './encryption.ts'
import { openStored } from './read.ts'
import { digestsFor, hasMd5Etag, type WritePlan, writeObject, type WrittenObject } from './write.ts'

/** A source that may be read. `close` lets its body and a customer's key go. */
export interface CopySource {
  readonly name: ObjectName
  readonly bucket: JudgedBucket
  readonly record: ObjectRecord
  readonly read: ReadEncryption
  readonly body: BodyReader
  close(): Promise<void>
}

/** Everything that was decided of a copy; but for the digests, which follow from the source. */
export interface CopyPlan extends Omit<WritePlan, 'digests'> {
  /** What happens to the bytes. */
  readonly what: WhatHappens
  /** The checksum that the client asks for. */
  readonly asked: ChecksumAlgorithm | undefined
}

/** The source, or a range of it, as a body that is received like any other. `digestsOf` says which digests its target needs. */
export const sourceBody = async (
  services: Services,
  { record, read, body }: CopySource,
  digestsOf: (checksums: readonly StoredChecksum[]) => BodyDigests,
  range?: ByteRange,
): Promise<IncomingBody> => {
  const opened = await openStored(services, record, read, { body, range, details: true })
  const { always = [], otherwise } = digestsOf(opened.checksums)
  const names = new Set(otherwise === undefined ? always : [...always, otherwise])
  const running = Array.from(names, name => [name, createDigest(name)] as const)
  const done = new Map<DigestAlgorithm, Uint8Array>()
  const stage: BodyStage = async function* (source) {
    for await (const chunk of source) {
      for (const [, digest] of running) digest.update(chunk)
      yield chunk
    }
    for (const [name, digest] of running) done.set(name, await digest.finish())
  }
  return { length: opened.length, start: opened.read, stages: [stage], checksum: otherwise, digests: () => done }
}

/** A new envelope over the source's bytes, the ETag that the object has under it, and its checksums, which stay. */
const rewrapped = async ({ sse }: Services, { record, read, body }: CopySource, encryption: WriteEncryption) => {
  const { envelope, values, partValues } = record
  if (encryption.kind === 'plain' || envelope === undefined) throw new SseError('NotAuthentic')
  const next = await sse.rewrap(envelope, { ...read.options, to: encryption.options })
  const opened = await sse.decrypt(next, { ...encryption.options, held: body.size, values })
  opened.driver.dispose()
  const etag = hasMd5Etag(encryption.kind) ? record.etag : opened.etag
  return { sealed: { envelope: next, values, partValues, etag }, checksums: checksumsOf(opened.values) }
}

/** Whether the target is to have a checksum that the source has not, so that its bytes are read. */
const lacksAsked = async (services: Services, { record, read }: CopySource, asked: CopyPlan['asked']) => {
  if (asked === undefined) return false
  const opened = await openStored(services, record, read, { details: true })
  opened.close()
  return !opened.checksums.some(({ algorithm }) => algorithm === asked)
}

/** Makes the target of the source's own bytes. */
const copyBytes = async (services: Services, plan: CopyPlan, source: CopySource): Promise<WrittenObject> => {
  const { bucket, key, encryption, headers, condition } = plan
  const { record, name } = source
  const { sealed, checksums } =
    plan.what === 'copy'
      ? { sealed: { etag: record.etag, partValues: record.partValues }, checksums: notedChecksums(record.notes) }
      : await rewrapped(services, source, encryption)
  const { parts, partSizes } = record.notes
  const target: NewObject = {
    ...sealed,
    size: record.size,
    modified: services.now(),
    kind: encryption.kind,
    headers,
    notes: {
      ...plan.notes,
      ...noteEncryption(encryption),
      ...noteChecksums(checksums, encryption.kind),
      ...(parts !== undefined && { parts }),
      ...(partSizes && { partSizes }),
    },
    owner: bucket.owner.domainId,
  }
  const from = { bucketId: source.bucket.bucket.id, key: name.key, revision: record.revision }
  const copied = await bucket.commit(judged => services.store.copyObject(from, judged, key, target, condition))
  return { record: copied, checksums }
}

/** Copies an object; whatever fails, the target's old one is whole. */
export const copyStored = async (services: Services, plan: CopyPlan, source: CopySource): Promise<WrittenObject> => {
  const { what, asked, encryption } = plan
  if ((what === 'copy' || what === 'rewrap') && !(await lacksAsked(services, source, asked))) {
    return copyBytes(services, plan, source)
  }
  const { defaultChecksum } = services.profile
  const otherwise = defaultChecksum === 'none' ? undefined : defaultChecksum
  const incoming = await sourceBody(services, source, ([first]) =>
    digestsFor(encryption.kind, asked ?? first?.algorithm ?? otherwise),
  )
  return writeObject(services, { ...plan, digests: {} }, incoming)
}
