/** Objects of the embedded store: a summary for listings, beside it the rest of the record, and a body that objects may share. */
import { concat } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { commitBody } from '../body-draft.ts'
import type { BodyFile } from '../body-store.ts'
import { memoryBody, openFiles } from '../body-reader.ts'
import { assertCondition } from '../condition.ts'
import { asStoreFailed, pieceMissing } from '../failure.ts'
import { newId } from '../names.ts'
import type { ObjectStore } from '../store.ts'
import type { NewObject, ObjectRecord, ObjectSummary } from '../records.ts'
import { enterBody } from './body-register.ts'
import { assertBucket, bucketRoot, commit, type FileStore, objectKey, requireBucket } from './context.ts'
import type { BodyPlace, Content } from './database.ts'
import { releaseBody } from './garbage.ts'
import { encodeKey, keyAfter } from './keys.ts'
import { page } from './listing.ts'
import { addReference, filesOf } from './references.ts'

/** The part of the store that deals with objects. */
export type ObjectActions = Pick<
  ObjectStore,
  'putObject' | 'getObject' | 'openObject' | 'deleteObject' | 'copyObject' | 'updateNotes' | 'listObjects'
>

/** Inside a change: makes record and body the object. The body has its reference already. */
export const replaceObject = (context: FileStore, at: Uint8Array, record: NewObject, body: BodyPlace): ObjectRecord => {
  const { objects, contents } = context.database.tables
  const { envelope, values, partValues, mac, size, etag, modified, kind, headers, notes, owner } = record
  const old = contents.get(at)
  const summary = { size, storedSize: body.size, etag, modified, kind, headers, notes, owner, revision: newId() }
  const sealed = {
    ...(envelope && { envelope }),
    ...(values && { values }),
    ...(partValues && { partValues }),
    ...(mac && { mac }),
  }
  objects.putSync(at, summary)
  contents.putSync(at, { ...sealed, body })
  if (old !== undefined) releaseBody(context, old.body)
  return { ...summary, ...sealed }
}

interface FoundObject {
  readonly record: ObjectRecord
  readonly body: BodyPlace
}

/** Where the bytes of a body are: in memory, or in files. */
interface Located extends FoundObject {
  readonly bytes: Uint8Array | undefined
  readonly files: readonly BodyFile[]
}

const joinRecord = (summary: ObjectSummary, { body, ...sealed }: Content): FoundObject => ({
  body,
  record: { ...summary, ...sealed },
})

/** See {@link ObjectStore}. */
export const objectActions = (context: FileStore): ObjectActions => {
  const { database, bodies } = context
  const { objects, contents, inline } = database.tables

  // Inside a read or a change.
  const findObject = (at: Uint8Array): FoundObject | undefined => {
    const summary = objects.get(at)
    if (summary === undefined) return undefined
    const content = contents.get(at)
    if (content === undefined) throw pieceMissing()
    return joinRecord(summary, content)
  }

  const locate = (at: Uint8Array): Located | undefined => {
    const found = findObject(at)
    if (found === undefined) return undefined
    const { form, id } = found.body
    const bytes = form === 'inline' ? (inline.get(encodeKey(id)) ?? new Uint8Array()) : undefined
    return { ...found, bytes, files: filesOf(database, found.body) }
  }

  return {
    putObject: (bucket, key, record, body, condition) =>
      commitBody(context.register, body, async draft => {
        const at = objectKey(bucket.id, key)
        return commit(context, () => {
          requireBucket(context, bucket)
          assertCondition(objects.get(at), condition)
          return replaceObject(context, at, record, enterBody(context, draft))
        })
      }),

    getObject: async (bucketId, key) => {
      const at = objectKey(bucketId, key)
      return database.read(() => {
        assertBucket(context, bucketId)
        return findObject(at)?.record
      })
    },

    openObject: async (bucketId, key) => {
      const at = objectKey(bucketId, key)
      return asStoreFailed(async () => {
        for (let last: string | undefined; ;) {
          const located = database.read(() => {
            assertBucket(context, bucketId)
            return locate(at)
          })
          if (located === undefined) return undefined
          const { record } = located
          // It is still the object whose file was gone.
          if (record.revision === last) throw pieceMissing()
          last = record.revision
          // Not where a file is gone, as it is when the object is another one by now.
          const body = located.bytes ? memoryBody(located.bytes) : await openFiles(bodies, located.files)
          if (body !== undefined) return { record, body }
        }
      })
    },

    deleteObject: async (bucket, key, condition) => {
      const at = objectKey(bucket.id, key)
      const remove = (): boolean => {
        requireBucket(context, bucket)
        assertCondition(objects.get(at), condition)
        const content = contents.get(at)
        if (content === undefined) return false
        objects.removeSync(at)
        contents.removeSync(at)
        releaseBody(context, content.body)
        return true
      }
      return commit(context, remove, 'reserve')
    },

    copyObject: async (source, bucket, key, record, condition) => {
      const from = objectKey(source.bucketId, source.key)
      const to = objectKey(bucket.id, key)
      return commit(context, () => {
        requireBucket(context, bucket)
        assertBucket(context, source.bucketId)
        const found = findObject(from)
        if (found === undefined) throw new SseError('NoSuchKey')
        assertCondition(found.record, { revision: source.revision })
        assertCondition(objects.get(to), condition)
        addReference(database, found.body)
        return replaceObject(context, to, record, found.body)
      })
    },

    updateNotes: async (bucket, key, { notes, mac }, condition) => {
      const at = objectKey(bucket.id, key)
      return database.write(() => {
        requireBucket(context, bucket)
        const summary = objects.get(at)
        const content = contents.get(at)
        if (summary === undefined) throw new SseError('NoSuchKey')
        if (content === undefined) throw pieceMissing()
        assertCondition(summary, condition)
        const changed = { ...summary, notes, revision: newId() }
        const { mac: _old, ...others } = content
        const beside = { ...others, ...(mac && { mac }) }
        objects.putSync(at, changed)
        contents.putSync(at, beside)
        return joinRecord(changed, beside).record
      })
    },

    listObjects: async (bucketId, { prefix, delimiter, after, limit }) => {
      const root = bucketRoot(bucketId)
      return database.read(() => {
        assertBucket(context, bucketId)
        const from = after === undefined ? root : keyAfter(concat(root, encodeKey(after)))
        const { found, prefixes, truncated, last } = page(objects, bucketId, { prefix, delimiter, after, from, limit })
        return {
          entries: found.map(({ names: [key = ''], value }) => ({ key, record: value })),
          prefixes,
          truncated,
          next: truncated ? last?.[0] : undefined,
        }
      })
    },
  }
}
