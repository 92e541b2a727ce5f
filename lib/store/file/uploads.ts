/**
 * Uploads of the embedded store. Attempts of parts are files of their own; Complete makes a body of them without touching a byte, and a
 * completed upload is remembered for a while, so that a Complete that is sent again gets its answer.
 */
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { commitBody } from '../body-draft.ts'
import type { BodyFile } from '../body-store.ts'
import { peekAttempts } from '../body-reader.ts'
import { assertCondition } from '../condition.ts'
import type { ObjectStore } from '../store.ts'
import type { NewUpload, Part, Upload } from '../records.ts'
import { newId } from '../names.ts'
import { enterFile } from './body-register.ts'
import { assertBucket, bucketRoot, commit, type FileStore, objectKey, requireBucket, uploadKey } from './context.ts'
import { type AttemptRow, countOf, type Entry, type UploadRow } from './database.ts'
import { encodeKey, keyAfter, keyAfterAll } from './keys.ts'
import { page } from './listing.ts'
import { replaceObject } from './objects.ts'
import { addPart, partsOf, removeParts, removeUpload } from './parts.ts'
import { assembleBody } from './references.ts'

/** The part of the store that deals with uploads. */
export type UploadActions = Pick<
  ObjectStore,
  | 'createUpload'
  | 'getUpload'
  | 'listUploads'
  | 'putPart'
  | 'listParts'
  | 'peekParts'
  | 'completeUpload'
  | 'abortUpload'
>

const filesByAttempt = (parts: readonly Entry<AttemptRow>[]): ReadonlyMap<string, BodyFile> =>
  new Map(parts.map(({ value: { file, part } }) => [part.attempt, { id: file, size: part.storedSize }]))

const withKey = (key: string, upload: NewUpload): Upload => ({ ...upload, key })

/** See {@link ObjectStore}. */
export const uploadActions = (context: FileStore): UploadActions => {
  const { database, bodies } = context
  const { objects, uploads, completions } = database.tables

  // Inside a read or a change, of a bucket that is there.
  const findUpload = (at: Uint8Array, completed: boolean): FoundUpload | undefined => {
    const row = uploads.get(at)
    if (row !== undefined) return { row }
    const completion = completed ? completions.get(at) : undefined
    return completion && { row: completion.upload, token: completion.token }
  }

  const requireUpload = (at: Uint8Array, completed = false): UploadRow => {
    const found = findUpload(at, completed)
    if (found === undefined) throw new SseError('NoSuchUpload')
    return found.row
  }

  return {
    createUpload: async (bucket, key, upload, { most = Infinity } = {}) => {
      const { id, session, kind, headers, notes, owner, initiated, mac } = upload
      const at = uploadKey(bucket.id, key, id)
      const kept = { id, kind, headers, notes, owner, initiated, ...(session && { session }), ...(mac && { mac }) }
      return database.write(() => {
        requireBucket(context, bucket)
        if (findUpload(at, true) !== undefined) throw new TypeError('the id of the upload is taken')
        const isFull = most !== Infinity && countOf(uploads, bucketRoot(bucket.id), most) >= most
        if (isFull) throw new SseError('TooManyUploads')
        uploads.putSync(at, { serial: newId(), upload: kept })
        return withKey(key, kept)
      })
    },

    getUpload: async (bucketId, key, id, { completed = false } = {}) => {
      const at = uploadKey(bucketId, key, id)
      const found = database.read(() => {
        assertBucket(context, bucketId)
        return findUpload(at, completed)
      })
      if (found === undefined) return undefined
      return { ...withKey(key, found.row.upload), ...(found.token !== undefined && { completed: found.token }) }
    },

    listUploads: async (bucketId, { prefix, delimiter, keyAfter: after, idAfter, limit }) => {
      const root = bucketRoot(bucketId)
      return database.read(() => {
        assertBucket(context, bucketId)
        // After all uploads of that key, or after one of them.
        const firstAfter = (key: Uint8Array): Uint8Array =>
          idAfter === undefined ? keyAfterAll(key) : keyAfter(concat(key, encodeKey(idAfter)))
        const from = after === undefined ? root : firstAfter(concat(root, encodeKey(after)))
        const { found, prefixes, truncated, last } = page(uploads, bucketId, { prefix, delimiter, after, from, limit })
        return {
          uploads: found.map(({ names: [key = ''], value }) => withKey(key, value.upload)),
          prefixes,
          truncated,
          next: truncated ? { keyAfter: last?.[0], idAfter: last?.[1] } : undefined,
        }
      })
    },

    putPart: (bucket, key, id, part, body) =>
      commitBody(context.register, body, async draft => {
        const at = uploadKey(bucket.id, key, id)
        await draft.toFile()
        const { number, attempt, size, etag, receipt, modified } = part
        return commit(context, () => {
          requireBucket(context, bucket)
          const upload = requireUpload(at)
          const file = enterFile(context, draft)
          const kept: Part = {
            number,
            attempt,
            size,
            modified,
            storedSize: file.size,
            ...(etag !== undefined && { etag }),
            ...(receipt && { receipt }),
          }
          const row: AttemptRow = { file: file.id, part: kept, at: context.now() }
          addPart(context, upload, bodies.remote ? { ...row, head: draft.head } : row)
          return kept
        })
      }),

    listParts: async (bucketId, key, id, { completed } = {}) => {
      const at = uploadKey(bucketId, key, id)
      return database.read(() => {
        assertBucket(context, bucketId)
        return partsOf(context, requireUpload(at, completed)).map(({ value }) => value.part)
      })
    },

    peekParts: async (bucketId, key, id, attempts, length, { completed } = {}) => {
      const at = uploadKey(bucketId, key, id)
      const rows = database.read(() => {
        assertBucket(context, bucketId)
        return new Map(
          partsOf(context, requireUpload(at, completed)).map(({ value }) => [value.part.attempt, value] as const),
        )
      })
      const found = attempts.map(attempt => rows.get(attempt))
      return peekAttempts(
        bodies,
        found.map(row => row && { file: { id: row.file, size: row.part.storedSize }, head: row.head }),
        length,
      )
    },

    completeUpload: async (bucket, key, id, { token, attempts, record }, condition) => {
      const at = uploadKey(bucket.id, key, id)
      const place = objectKey(bucket.id, key)
      return commit(context, () => {
        const before = completions.get(at)
        if (before?.token === token) return before.record
        requireBucket(context, bucket)
        const upload = requireUpload(at)
        assertCondition(objects.get(place), condition)
        const all = partsOf(context, upload)
        const files = filesByAttempt(all)
        const chosen = attempts.map(attempt => {
          const file = files.get(attempt)
          if (file === undefined) throw new SseError('InvalidPart')
          return file
        })
        const kept = new Set(chosen.map(file => file.id))
        const others = all.filter(({ value }) => !kept.has(value.file))
        removeParts(context, others)
        const result = replaceObject(context, place, record, assembleBody(database, chosen))
        uploads.removeSync(at)
        completions.putSync(at, { upload, token, at: context.now(), record: result })
        return result
      })
    },

    abortUpload: async (bucket, key, id) => {
      const at = uploadKey(bucket.id, key, id)
      const remove = (): void => {
        requireBucket(context, bucket)
        if (!removeUpload(context, at)) throw new SseError('NoSuchUpload')
      }
      return commit(context, remove, 'reserve')
    },
  }
}

interface FoundUpload {
  readonly row: UploadRow
  readonly token?: string
}
