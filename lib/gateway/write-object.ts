/** What PUT and POST Object share, from the decision to the commit: the object exists once all of its body was received and checked. */
import { wipe } from '../bytes.ts'
import type { AnsweredOperation } from '../sse/response.ts'
import type { Condition, ObjectRecord } from '../store/store.ts'
import { refuseStranger } from './access.ts'
import type { AnswerHeaders } from './answer.ts'
import { requestedAttributes } from './attributes.ts'
import type { IncomingBody } from './body.ts'
import type { Context, OwnedBucket } from './context.ts'
import type { DigestAlgorithm } from './digest.ts'
import { decideWrite, encryptionHeaders, noteEncryption } from './encryption.ts'
import { objectHeaders } from './metadata.ts'
import { digestsFor, receiveObject } from './receive.ts'

/** How an object is written. */
export interface ObjectWrite {
  readonly operation: Extract<AnsweredOperation, 'put' | 'post'>
  readonly owned: OwnedBucket
  readonly key: string
  /** Asked before the body is, and again in the step that makes the object. */
  readonly condition?: Condition | undefined
  /** The body, once it is known which digests it needs in any case. */
  body(digests: readonly DigestAlgorithm[]): IncomingBody
}

/** An object that was written. */
export interface WrittenObject {
  readonly record: ObjectRecord
  /** What the answer says of it: its ETag and its encryption. */
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
    const received = await receiveObject(ctx, encryption, body(digestsFor(kind)))
    const { size, etag, envelope, values } = received
    const attributes = { ...asked, ...noteEncryption(encryption) }
    const record = await store.putObject(
      bucket.name,
      key,
      { size, etag, modified: ctx.now(), kind, headers, attributes, owner: owner.domainId, envelope, values },
      received.body,
      { condition: change },
    )
    const answer = encryption.kind === 'plain' ? encryption : encryption.answer
    return { record, headers: { etag: `"${etag}"`, ...encryptionHeaders(ctx, operation, answer) } }
  } finally {
    if (encryption.kind !== 'plain') wipe(encryption.options.customerKey)
  }
}
