/**
 * The embedded object store: an LMDB index and body files in one directory, for several processes of one machine; and the interface that any
 * other store fulfils. Needs the optional package `lmdb`.
 *
 * @module sse-kms-streams/store
 */
export { authenticated } from './store/authenticated.ts'
export { openBodyFiles } from './store/file/disk.ts'
export { type FileStoreOptions, openFileStore } from './store/file/store.ts'
export type * from './store/body-store.ts'
export { assertCondition } from './store/condition.ts'
export type { IndexedBody, IndexedPart, IndexFault, Orphan, OrphanPage, StoreInspection } from './store/inspection.ts'
export type * from './store/records.ts'
export type * from './store/store.ts'
