/** What PUT and POST Object share, from the decision to the commit: the object exists once all of its body was received and checked. */
import { wipe } from '../bytes.ts'
import type { AnsweredOperation } from '../sse/response.ts'
import type { Condition, ObjectRecord } from '../store/store.ts'
import { refuseStranger } from './access.ts'
import type { AnswerHeaders } from './answer.ts'
import { requestedAttributes } from './attributes.ts'
import type { IncomingBody } from './body.ts'
import type { Context, OwnedBucket } from './context.ts'
import { decideWrite, encryptionHeaders, noteEncryption } from './encryption.ts'
import { objectHeaders } from './metadata.ts'
import { defaultChecksum, digestsFor, receiveObject } from './receive.ts'
import type { RequestBodyOptions } from './request-body.ts'
import { checksumHeaders } from './stored-checksums.ts'

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
  ctx: Context,
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
