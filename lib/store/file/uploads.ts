/**
 * Uploads of the embedded store. Attempts of parts are files of their own; Complete makes a body of them without touching a byte, and a
 * completed upload is remembered for a while, so that a Complete that is sent again gets its answer.
 */
import { open } from 'node:fs/promises'
import { concat, u32, view } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { NewUpload, ObjectStore, Part, PartPeek, Upload } from '../store.ts'
import { assemble, disown } from './bodies.ts'
import { giving } from './body-writer.ts'
import { bucketKey, type FileStore, requireBucket, uploadKey } from './context.ts'
import { entriesOf, type Entry, lastKey, type CompletionRow, type AttemptRow, type UploadRow } from './database.ts'
import { hasCode, newId, onDisk } from './disk.ts'
import { behind, behindAll, encodeKey } from './keys.ts'
import { page } from './listing.ts'
import { swapObject } from './objects.ts'

/** The part of the store that deals with uploads. */
export type UploadActions = Pick<
  ObjectStore,
  'createUpload' | 'getUpload' | 'listUploads' | 'putPart' | 'listParts' | 'peekPart' | 'completeUpload' | 'abortUpload'
>

const partsOf = ({ database }: FileStore, { serial }: UploadRow): readonly Entry<AttemptRow>[] =>
  entriesOf(database.tables.parts, encodeKey(serial))

const shown = (key: string, upload: NewUpload): Upload => ({ ...upload, key })

/** Inside a change: gives up the memory of a completed upload. */
export const forgetCompletion = (context: FileStore, at: Uint8Array, { upload }: CompletionRow): void => {
  const { completions, parts } = context.database.tables
  for (const { key } of partsOf(context, upload)) parts.removeSync(key)
  completions.removeSync(at)
}

/** See {@link ObjectStore}. */
export const uploadActions = (context: FileStore): UploadActions => {
  const { database, disk } = context
  const { objects, uploads, completions, parts } = database.tables

  const find = (bucket: string, at: Uint8Array, completed: boolean): Found | undefined => {
    requireBucket(context, bucket)
    const stored = uploads.get(at)
    if (stored !== undefined) return { stored }
    const completion = completed ? completions.get(at) : undefined
    return completion && { stored: completion.upload, token: completion.token }
  }

  const requireUpload = (bucket: string, at: Uint8Array, completed = false): UploadRow => {
    const found = find(bucket, at, completed)
    if (found === undefined) throw new SseError('NoSuchUpload')
    return found.stored
  }

  // The key of the next part: behind the last one.
  const nextPart = ({ serial }: UploadRow): Uint8Array => {
    const root = encodeKey(serial)
    const last = lastKey(parts, root)
    return concat(root, u32(last === undefined ? 0 : view(last).getUint32(root.length) + 1))
  }

  return {
    createUpload: async (bucket, key, upload) => {
      const { id, session, kind, headers, attributes, owner, initiated } = upload
      const at = uploadKey(bucket, key, id)
      const kept = { id, kind, headers, attributes, owner, initiated, ...(session && { session }) }
      return database.write(() => {
        if (find(bucket, at, true) !== undefined) throw new TypeError('the id of the upload is taken')
        uploads.putSync(at, { serial: newId(), upload: kept })
        return shown(key, kept)
      })
    },

    getUpload: async (bucket, key, id, { completed = false } = {}) => {
      const at = uploadKey(bucket, key, id)
      const found = database.read(() => find(bucket, at, completed))
      if (found === undefined) return undefined
      return { ...shown(key, found.stored.upload), ...(found.token !== undefined && { completed: found.token }) }
    },

    listUploads: async (bucket, { prefix, delimiter, keyAfter, idAfter, limit }) =>
      database.read(() => {
        requireBucket(context, bucket)
        const root = bucketKey(bucket)
        const after = keyAfter === undefined ? undefined : concat(root, encodeKey(keyAfter))
        // Behind all uploads of that key, or behind one of them.
        const behindThat = (key: Uint8Array): Uint8Array =>
          idAfter === undefined ? behindAll(key) : behind(concat(key, encodeKey(idAfter)))
        const from = after === undefined ? root : behindThat(after)
        const { found, prefixes, truncated, last } = page(uploads, bucket, {
          prefix,
          delimiter,
          after: keyAfter,
          from,
          limit,
        })
        return {
          uploads: found.map(({ names: [key = ''], value }) => shown(key, value.upload)),
          prefixes,
          truncated,
          next: truncated ? { keyAfter: last?.[0], idAfter: last?.[1] } : undefined,
        }
      }),

    putPart: (bucket, key, id, part, body) =>
      giving(context, body, async draft => {
        const at = uploadKey(bucket, key, id)
        await draft.toFile()
        const { number, attempt, size, etag, receipt, modified } = part
        return database.write(() => {
          const upload = requireUpload(bucket, at)
          const file = draft.enterFile()
          const kept: Part = {
            number,
            attempt,
            size,
            modified,
            storedSize: file.size,
            ...(etag !== undefined && { etag }),
            ...(receipt && { receipt }),
          }
          parts.putSync(nextPart(upload), { file: file.id, part: kept })
          return kept
        })
      }),

    listParts: async (bucket, key, id, { completed } = {}) => {
      const at = uploadKey(bucket, key, id)
      return database.read(() => partsOf(context, requireUpload(bucket, at, completed)).map(({ value }) => value.part))
    },

    peekPart: async (bucket, key, id, attempt, length, { completed } = {}) => {
      const at = uploadKey(bucket, key, id)
      const found = database.read(() =>
        partsOf(context, requireUpload(bucket, at, completed)).find(({ value }) => value.part.attempt === attempt),
      )
      return found && peek(disk.path(found.value.file), length)
    },

    completeUpload: async (bucket, key, id, { token, attempts, record }, { condition } = {}) => {
      const at = uploadKey(bucket, key, id)
      const place = encodeKey(bucket, key)
      const { result, dropped } = await database.write(() => {
        requireBucket(context, bucket)
        const before = completions.get(at)
        if (before?.token === token) return { result: before.record, dropped: [] }
        const upload = requireUpload(bucket, at)
        condition?.(objects.get(place))
        const all = partsOf(context, upload)
        const byAttempt = new Map(all.map(({ value }) => [value.part.attempt, value]))
        const chosen = attempts.map(attempt => {
          const found = byAttempt.get(attempt)
          if (found === undefined) throw new SseError('InvalidPart')
          return { id: found.file, size: found.part.storedSize }
        })
        const kept = new Set(chosen.map(file => file.id))
        const others = all.filter(({ value }) => !kept.has(value.file))
        for (const other of others) parts.removeSync(other.key)
        const swapped = swapObject(context, place, record, assemble(database, chosen))
        uploads.removeSync(at)
        completions.putSync(at, { upload, token, at: context.now(), record: swapped.result })
        const losers = disown(
          database,
          others.map(({ value }) => value.file),
        )
        return { result: swapped.result, dropped: [...swapped.dropped, ...losers] }
      })
      disk.drop(dropped)
      return result
    },

    abortUpload: async (bucket, key, id) => {
      const at = uploadKey(bucket, key, id)
      const dropped = await database.write(() => {
        const all = partsOf(context, requireUpload(bucket, at))
        for (const part of all) parts.removeSync(part.key)
        uploads.removeSync(at)
        return disown(
          database,
          all.map(({ value }) => value.file),
        )
      })
      disk.drop(dropped)
    },
  }
}

interface Found {
  readonly stored: UploadRow
  readonly token?: string
}

const peek = async (path: string, length: number): Promise<PartPeek | undefined> => {
  try {
    const handle = await open(path)
    try {
      const { size } = await handle.stat()
      const head = Buffer.allocUnsafeSlow(length)
      const { bytesRead } = await handle.read(head, 0, length, 0)
      return { size, head: head.subarray(0, bytesRead) }
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    return onDisk(() => Promise.reject(error))
  }
}
