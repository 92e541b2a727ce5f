/** The checksums that lie sealed beside an object, opened: one call to the KMS, and no byte of the body. */
import { base64 } from '../bytes.ts'
import { compositeFlag, valueIds, type Values } from '../envelope/sealed-values.ts'
import { SseError } from '../errors.ts'
import type { ObjectRecord } from '../store/store.ts'
import { type ChecksumAlgorithm, checksumAlgorithms } from './checksums.ts'
import type { Context } from './context.ts'
import type { ReadEncryption } from './encryption.ts'
import { type PartSize, partsOf } from './parts.ts'

/** A checksum of the object's bytes, or of its parts' checksums. */
export interface StoredChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: 'FULL_OBJECT' | 'COMPOSITE'
  /** In base64. */
  readonly value: string
}

/** What is known of an object once its envelope and values were verified. */
export interface StoredFacts {
  readonly checksums: readonly StoredChecksum[]
  readonly parts: readonly PartSize[]
}

const forms = [
  ['FULL_OBJECT', 0],
  ['COMPOSITE', compositeFlag],
] as const

/** The checksums among opened values; the MD5 is no checksum that clients ask for. */
export const checksumsOf = (values: Values): readonly StoredChecksum[] =>
  checksumAlgorithms.flatMap(algorithm => {
    const { id } = valueIds[algorithm]
    return forms.flatMap(([type, flag]) => {
      const value = values.get(flag + id)
      return value === undefined ? [] : [{ algorithm, type, value: base64(value) }]
    })
  })

/** Opens what lies beside an object. `NotAuthentic`, and the KMS's errors. */
export const openStored = async (ctx: Context, record: ObjectRecord, read: ReadEncryption): Promise<StoredFacts> => {
  if (record.kind === 'plain') return { checksums: [], parts: partsOf(record) }
  if (record.envelope === undefined) throw new SseError('NotAuthentic')
  const { driver, values, parts } = await ctx.options.sse.decrypt(record.envelope, {
    ...read.options,
    etag: record.kind === 'sse-s3' ? undefined : record.etag,
    values: record.values,
  })
  driver.dispose()
  return {
    checksums: checksumsOf(values),
    parts: parts.flatMap(({ part, length }) => (part === 0 ? [] : [{ number: part, size: length }])),
  }
}
