/** What of a bucket lies under which master key and version: counted from every object's and upload's own row, each of which is authentic. */
import { SseError } from '../errors.ts'
import { type KeyPlace, keyPlaceOf, keyPlaceOfUpload } from '../gateway/objects/rewrap.ts'
import type { EncryptionKind } from '../sse/names.ts'
import { type BulkPlace, keysOf } from './bulk.ts'
import { Interrupted } from './failure.ts'
import type { Io } from './io.ts'
import { printable } from './printable.ts'

/** What lies under a version of a key. */
export interface KeyCount extends KeyPlace {
  readonly kind: EncryptionKind
  readonly objects: number
  /** Bytes of plaintext of the objects. */
  readonly bytes: number
  /** Keys and ids of open uploads. */
  readonly uploads: readonly string[]
}

type Counting = { -readonly [Name in keyof KeyCount]: KeyCount[Name] } & { readonly uploads: string[] }

const nowhere = { provider: '', keyId: '', version: undefined }
const atOnce = 16

/** What was counted. */
export interface KeyCounts {
  readonly counts: readonly KeyCount[]
  /** Rows of which nobody knows what they lie under, since they are not authentic. */
  readonly unknown: number
}

/** Counts them. Rejects with {@link Interrupted}. */
export const countKeys = async (io: Io, all: BulkPlace): Promise<KeyCounts> => {
  const { store, bucketId, prefix } = all
  const counts = new Map<string, Counting>()
  const countOf = (kind: EncryptionKind, { provider, keyId, version }: KeyPlace): Counting => {
    const name = JSON.stringify([kind, provider, keyId, version])
    const count = counts.get(name) ?? { kind, provider, keyId, version, objects: 0, bytes: 0, uploads: [] }
    counts.set(name, count)
    return count
  }
  let unknown = 0
  /** The row, if it is there and authentic. */
  const authentic = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof SseError) || !['IndexNotAuthentic', 'NotAuthentic'].includes(error.code)) throw error
      unknown++
      return undefined
    }
  }
  const keys = keysOf(all, io.signal)
  const worker = async (): Promise<void> => {
    for await (const key of { [Symbol.asyncIterator]: () => ({ next: () => keys.next() }) }) {
      const row = await authentic(async () => {
        const record = await store.getObject(bucketId, key)
        return record && { record, place: record.envelope === undefined ? nowhere : keyPlaceOf(record.envelope) }
      })
      if (row === undefined) continue
      const count = countOf(row.record.kind, row.place)
      count.objects++
      count.bytes += row.record.size
    }
  }
  // Uploads first: what one of them becomes meanwhile is found among the objects.
  for (
    let next: { readonly keyAfter?: string | undefined; readonly idAfter?: string | undefined } | undefined = {};
    next;
  ) {
    const page = await store.listUploads(bucketId, { ...next, prefix, limit: 1000 })
    for (const { key, id } of page.uploads) {
      const row = await authentic(async () => {
        const upload = await store.getUpload(bucketId, key, id)
        return upload && { upload, place: upload.session === undefined ? nowhere : keyPlaceOfUpload(upload.session) }
      })
      if (row !== undefined) countOf(row.upload.kind, row.place).uploads.push(`${key}?uploadId=${id}`)
    }
    next = page.next
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  if (io.signal.aborted) throw new Interrupted('Interrupted while what lies under which key was counted.')
  return { counts: [...counts.values()], unknown }
}

/** Counts as lines. */
export const keyCountLines = (counts: readonly KeyCount[]): readonly string[] =>
  counts.map(({ kind, keyId, version, objects, uploads }) => {
    const under = keyId === '' ? '' : ` under ${printable(keyId)}${version === undefined ? '' : ` version ${version}`}`
    const open = uploads.length === 0 ? '' : `, ${uploads.length} open uploads`
    return `  ${kind}${under}: ${objects} objects${open}`
  })
