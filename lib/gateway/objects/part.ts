/** Receives one attempt of a part into the store, sealed under the upload's key and a salt of its own. It belongs to nothing yet. */
import { randomBytes } from 'node:crypto'
import { SseError } from '../../errors.ts'
import type { KeyOptions, StoredUpload } from '../../object/options.ts'
import { partKeyMismatch } from '../../sse/customer-key.ts'
import type { EncryptionKind } from '../../sse/names.ts'
import type { BodyWriter } from '../../store/store.ts'
import type { NewPart } from '../../store/records.ts'
import type { BodyDigests, IncomingBody } from '../body/body.ts'
import type { Services } from '../services.ts'
import { receivedChecksums, type StoredChecksum, type UploadChecksum } from './checksums.ts'
import { bodyToSeal, digestsFor, fill, hasMd5Etag, md5Of, outputFor, valuesOf } from './write.ts'

/** What the sealed parts of an upload are unlocked with. */
export interface UploadKeys {
  readonly stored: StoredUpload
  readonly options: KeyOptions
}

/** Everything that was decided of a part before its body comes. */
export interface PartPlan {
  readonly number: number
  readonly kind: EncryptionKind
  /** Absent where the object will be plain. */
  readonly keys: UploadKeys | undefined
  /** What the parts of its upload are summed up with. */
  readonly checksum: UploadChecksum | undefined
}

/** A part that was received. */
export interface ReceivedPart {
  readonly body: BodyWriter
  readonly part: NewPart & { readonly etag: string }
  readonly checksums: readonly StoredChecksum[]
}

/** What a customer's key that is not the upload's is answered: `InvalidRequest`. */
export const underUploadKey = <T>(work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    throw error instanceof SseError && error.code === 'WrongCustomerKey' ? partKeyMismatch(error) : error
  })

/** Digests that a part needs: also its upload's, where the client sends another checksum or none. */
export const partDigests = ({ kind, checksum }: PartPlan): BodyDigests => {
  const { always = [] } = digestsFor(kind, undefined)
  return checksum === undefined
    ? { always }
    : { always: [...always, checksum.algorithm], otherwise: checksum.algorithm }
}

/** Receives the body of a part; rejects with what is wrong with it, and leaves nothing behind then. */
export const receivePart = async (
  services: Services,
  { number, kind, keys, checksum }: PartPlan,
  incoming: IncomingBody,
): Promise<ReceivedPart> => {
  const { store, sse, now } = services
  if (keys === undefined) {
    const body = await store.createBody({ expectedSize: incoming.length })
    await fill(body, incoming)
    const attempt = randomBytes(24).toString('hex')
    // A plain part has nothing sealed: its receipt is its checksum.
    const receipt = checksum === undefined ? undefined : incoming.digests().get(checksum.algorithm)
    const part = { number, attempt, size: body.size, etag: md5Of(incoming), receipt, modified: now() }
    return { body, part, checksums: receivedChecksums(incoming) }
  }
  const values = () => valuesOf(incoming, kind, checksum?.algorithm)
  const memory = outputFor(services, incoming.length)
  const sealing = await underUploadKey(
    sse.encryptPart(keys.stored, number, { ...keys.options, length: incoming.length, values, memory }),
  )
  const body = await bodyToSeal(store.createBody({ expectedSize: incoming.length }), sealing)
  await fill(body, incoming, { stage: source => sealing.pieces(source), memory })
  const { attempt, plaintextLength, receipt, etag } = sealing.result()
  const part = { number, attempt, size: plaintextLength, receipt, modified: now() }
  return {
    body,
    part: { ...part, etag: hasMd5Etag(kind) ? md5Of(incoming) : etag },
    checksums: receivedChecksums(incoming),
  }
}
