/** Objects of the embedded store: a summary for listings, beside it the rest of the record, and a body that objects may share. */
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { BodyReader, Condition, NewObject, ObjectRecord, ObjectStore } from '../store.ts'
import { filesOf, hold, release } from './bodies.ts'
import { memoryBody, mostHandles, openFiles, pinnedFiles } from './body-reader.ts'
import { giving } from './body-writer.ts'
import { bucketKey, type FileStore, holder, objectKey, requireBucket } from './context.ts'
import type { BodyFile, BodyPlace, Content } from './database.ts'
import { hasCode, newId, onDisk } from './disk.ts'
import { behind, encodeKey } from './keys.ts'
import { page } from './listing.ts'

/** The part of the store that deals with objects. */
export type ObjectActions = Pick<
  ObjectStore,
  'putObject' | 'getObject' | 'openObject' | 'deleteObject' | 'copyObject' | 'listObjects'
>

/** What a change leaves to be done after its commit. */
export interface Changed<T> {
  readonly result: T
  /** Files to delete. */
  readonly dropped: readonly string[]
}

const damaged = (cause?: unknown): SseError =>
  new SseError('StoreFailed', {
    message: 'The index or a body file is missing a piece. Restore the store from a backup.',
    cause,
  })

/** Inside a change: refuses it, or makes record and body the object; the body is held already. */
export const swapObject = (
  { database }: FileStore,
  at: Uint8Array,
  record: NewObject,
  body: BodyPlace,
): Changed<ObjectRecord> => {
  const { objects, contents } = database.tables
  const { envelope, values, size, etag, modified, kind, headers, attributes, owner } = record
  const old = contents.get(at)
  const version = newId()
  const summary = { size, storedSize: body.size, etag, modified, kind, headers, attributes, owner, version }
  const sealed = { ...(envelope && { envelope }), ...(values && { values }) }
  objects.putSync(at, summary)
  contents.putSync(at, { ...sealed, body })
  return { result: { ...summary, ...sealed }, dropped: old === undefined ? [] : release(database, old.body) }
}

/** See {@link ObjectStore}. */
export const objectActions = (context: FileStore): ObjectActions => {
  const { database, disk } = context
  const { objects, contents, inline, pins } = database.tables

  const refuse = (at: Uint8Array, condition: Condition | undefined): void => condition?.(objects.get(at))

  const look = (bucket: string, key: string): (Content & { readonly record: ObjectRecord }) | undefined => {
    const at = objectKey(bucket, key)
    requireBucket(context, bucket)
    const summary = objects.get(at)
    if (summary === undefined) return undefined
    const content = contents.get(at)
    if (content === undefined) throw damaged()
    const { body, ...sealed } = content
    return { body, record: { ...summary, ...sealed } }
  }

  const finish = async <T>(change: Promise<Changed<T>>): Promise<T> => {
    const { result, dropped } = await change
    disk.drop(dropped)
    return result
  }

  const openPinned = async (body: BodyPlace, files: readonly BodyFile[], pin: Uint8Array): Promise<BodyReader> =>
    pinnedFiles(disk, files, () =>
      finish(
        database.write(() => {
          pins.removeSync(pin)
          return { result: undefined, dropped: release(database, body) }
        }),
      ),
    )

  // One snapshot of the object, then its files: `undefined` where a file is gone because the object is another one by now.
  const openOnce = async (bucket: string, key: string): Promise<OpenResult> => {
    const found = database.read(() => {
      const there = look(bucket, key)
      if (there === undefined) return undefined
      const bytes =
        there.body.form === 'inline' ? (inline.get(encodeKey(there.body.id)) ?? new Uint8Array()) : undefined
      return { ...there, bytes, files: filesOf(database, there.body) }
    })
    if (found === undefined) return 'absent'
    const { record, body, bytes, files } = found
    if (bytes !== undefined) return { record, body: memoryBody(bytes) }
    try {
      if (files.length <= mostHandles) return { record, body: await openFiles(disk, files) }
      const pin = encodeKey(newId())
      const pinned = await database.write(() => {
        if (objects.get(objectKey(bucket, key))?.version !== record.version) return false
        hold(database, body)
        pins.putSync(pin, { ...holder(context), body })
        return true
      })
      return pinned ? { record, body: await openPinned(body, files, pin) } : 'changed'
    } catch (error) {
      const now = database.read(() => look(bucket, key))
      if (hasCode(error, 'ENOENT') && now?.record.version !== record.version) return 'changed'
      throw error
    }
  }

  return {
    putObject: (bucket, key, record, body, { condition } = {}) =>
      giving(context, body, draft => {
        const at = objectKey(bucket, key)
        return finish(
          database.write(() => {
            requireBucket(context, bucket)
            refuse(at, condition)
            return swapObject(context, at, record, draft.enter())
          }),
        )
      }),

    getObject: async (bucket, key) => database.read(() => look(bucket, key)?.record),

    openObject: async (bucket, key) => {
      objectKey(bucket, key)
      return onDisk(async () => {
        for (;;) {
          const opened = await openOnce(bucket, key)
          if (opened === 'absent') return undefined
          if (opened !== 'changed') return opened
        }
      })
    },

    deleteObject: async (bucket, key, { condition } = {}) => {
      const at = objectKey(bucket, key)
      return finish(
        database.write(() => {
          requireBucket(context, bucket)
          refuse(at, condition)
          const content = contents.get(at)
          if (content === undefined) return { result: false, dropped: [] }
          objects.removeSync(at)
          contents.removeSync(at)
          return { result: true, dropped: release(database, content.body) }
        }),
      )
    },

    copyObject: async (source, target, record, { condition } = {}) => {
      const at = objectKey(target.bucket, target.key)
      return finish(
        database.write(() => {
          const found = look(source.bucket, source.key)
          if (found === undefined) throw new SseError('NoSuchKey')
          if (found.record.version !== source.version) throw new SseError('PreconditionFailed')
          requireBucket(context, target.bucket)
          refuse(at, condition)
          hold(database, found.body)
          return swapObject(context, at, record, found.body)
        }),
      )
    },

    listObjects: async (bucket, { prefix, delimiter, after, limit }) =>
      database.read(() => {
        requireBucket(context, bucket)
        const root = bucketKey(bucket)
        const from = after === undefined ? root : behind(concat(root, encodeKey(after)))
        const { found, prefixes, truncated, last } = page(objects, bucket, { prefix, delimiter, after, from, limit })
        return {
          entries: found.map(({ names: [key = ''], value }) => ({ key, record: value })),
          prefixes,
          truncated,
          next: truncated ? last?.[0] : undefined,
        }
      }),
  }
}

type OpenResult = { readonly record: ObjectRecord; readonly body: BodyReader } | 'absent' | 'changed'
