/** What a check of a store looks at: what its index says of bodies, and what is really there. The interface, and what stores share of it. */
import type { BodyFile, BodyStore } from './body-store.ts'
import { asStoreFailed } from './failure.ts'

/** The body of an object, as the index has it. */
export interface IndexedBody {
  /** Of the object. */
  readonly revision: string
  /** Bytes that the object says it has in the store. */
  readonly size: number
  /** Bytes that lie in the index; `undefined` where the body is files. */
  readonly inline: number | undefined
  /** Its files, in order. */
  readonly files: readonly BodyFile[]
}

/** An attempt of a part of an open upload, as the index has it. */
export interface IndexedPart {
  /** Part number. */
  readonly number: number
  /** Names the attempt. */
  readonly attempt: string
  /** Its file. */
  readonly file: BodyFile
}

/** Where the index does not add up in itself. */
export interface IndexFault {
  /**
   * `count`: the number of objects that share a body is wrong. `unregistered`: a file of an object or upload that the next sweep would delete, for it is
   * not in the list of files. `forgotten`: a body that nothing refers to, and that nobody would ever delete. `row`: a row whose other half is gone.
   */
  readonly what: 'count' | 'unregistered' | 'forgotten' | 'row'
  /** Id of the body or the file, or what tells the row. */
  readonly id: string
  /** Says it in words. */
  readonly message: string
  /** Whether it was mended. */
  readonly mended: boolean
}

/** A body that the index does not know. */
export interface Orphan {
  /** 32 hex digits. */
  readonly id: string
  /** Bytes; `undefined` of one that was begun and never became a body. */
  readonly size: number | undefined
}

/** Some of the bodies that are there. */
export interface OrphanPage {
  /** Bodies that were looked at. */
  readonly examined: number
  /** Those of them that the index does not know. */
  readonly orphans: readonly Orphan[]
}

/** What lies in a store, for a check. All of it may be called while other processes write: what they do is no fault. */
export interface StoreInspection {
  /** The body of an object, if there is an object. `StoreFailed` where its row is broken. */
  body(bucketId: string, key: string): Promise<IndexedBody | undefined>
  /** The attempts of an open upload; none where there is no such upload. */
  parts(bucketId: string, key: string, id: string): Promise<readonly IndexedPart[]>
  /** Bytes that are really there of a file; `undefined` where there is none. */
  sizeOf(id: string): Promise<number | undefined>
  /**
   * Where the index does not add up in itself; `mend` puts it right, as far as that takes away nothing that an object or an upload has. Reads all of the
   * index at once; mending holds up all changes for as long.
   */
  indexFaults(options: { readonly mend: boolean }): Promise<readonly IndexFault[]>
  /** Bodies that the index does not know, a shelf or page at a time. */
  orphans(): AsyncIterable<OrphanPage>
}

/** What {@link inspectBodies} has to know of the index. */
export interface KnownBodies {
  readonly bodies: BodyStore
  /** Of these ids, those that the index does not know. */
  readonly unknown: (ids: readonly string[]) => Promise<readonly string[]>
  /** Of these ids, those that are not being written. */
  readonly unfinished: (ids: readonly string[]) => Promise<readonly string[]>
}

/**
 * The part of an inspection that looks at bodies. A row is there before its body and until after it: so a body that is there once its row was looked
 * for in vain is one that nobody knows, whatever is being written.
 */
export const inspectBodies = ({
  bodies,
  unknown,
  unfinished,
}: KnownBodies): Pick<StoreInspection, 'sizeOf' | 'orphans'> => {
  const sizeOf = (id: string): Promise<number | undefined> => asStoreFailed(() => bodies.sizeOf(id))
  return {
    sizeOf,
    orphans: async function* () {
      const begun: string[] = []
      await asStoreFailed(() =>
        bodies.discardUnfinished(async ids => {
          begun.push(...(await unfinished(ids)))
          return []
        }),
      )
      yield { examined: 0, orphans: begun.map(id => ({ id, size: undefined })) }
      for await (const ids of bodies.list()) {
        const orphans: Orphan[] = []
        for (const id of ids.length === 0 ? [] : await unknown(ids)) {
          const size = await sizeOf(id)
          if (size !== undefined) orphans.push({ id, size })
        }
        yield { examined: ids.length, orphans }
      }
    },
  }
}
