/** A key store, a façade and an object store as a server has them, in a folder that goes with the case. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Bench } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { chosenOf } from './engines.ts'
import { readable } from './streams.ts'

type Kms = Awaited<ReturnType<Lib['core']['LocalKms']['open']>>
type Sse = ReturnType<Lib['core']['createSse']>
type ObjectStore = Awaited<ReturnType<Lib['store']['openFileStore']>>
type NewObject = Parameters<ObjectStore['putObject']>[2]
type Body = Awaited<ReturnType<ObjectStore['createBody']>>
type Opened = Awaited<ReturnType<ObjectStore['openObject']>>
type Page = Awaited<ReturnType<ObjectStore['listObjects']>>

/** An object store with one bucket, as the cases use it. */
export interface Store extends Pick<ObjectStore, 'createBody'> {
  /** The store itself. */
  readonly whole: ObjectStore
  put(key: string, record: NewObject, body: Body): Promise<void>
  /** Makes the object at `from` that at `to`; `record` describes it, with the envelope that is made of the old one. */
  copy(from: string, to: string, record: (envelope: Uint8Array) => Promise<NewObject>): Promise<void>
  open(key: string): Promise<Opened>
  list(after: string | undefined, limit: number): Promise<Page>
}

/** The tenant that everything belongs to. */
export const owner = { domainId: 'bench', projectId: 'bench-project' }
/** The region of everything. */
export const region = 'sichuan'
/** The bucket of everything. */
export const bucket = 'bench'

/** A service without its gateway. */
export interface Service {
  /** Name of the engine of keys and objects. */
  readonly engine: string
  readonly directory: string
  readonly kms: Kms
  readonly keyId: string
  readonly sse: Sse
}

/** Opens one, with a key of its tenant. */
export const openService = async (bench: Bench): Promise<Service> => {
  const { core } = bench.lib
  const directory = await bench.directory()
  const engine = await chosenOf(bench.lib)
  const root = { key: new Uint8Array(randomBytes(32)) }
  const kms = await core.LocalKms.open(join(directory, 'keys'), { root, engine })
  bench.after(() => kms.close())
  const { keyId } = await kms.defaultKey({ region, domainId: owner.domainId })
  return { engine: engine.name, directory, kms, keyId, sse: core.createSse({ kms, accept: [keyId], engine }) }
}

/** What every object here has beside its body. Another revision calls notes attributes. */
export const described = (size: number) => {
  const kept = { size, headers: {}, notes: {}, attributes: {}, owner: owner.domainId, modified: Date.now() }
  return kept
}

/** An object store with one bucket; `dress` makes what is used of what was opened. */
export const openStore = async (
  bench: Bench,
  directory: string,
  dress: (rows: ObjectStore) => ObjectStore | Promise<ObjectStore> = rows => rows,
): Promise<Store> => {
  const rows = await bench.lib.store.openFileStore(join(directory, 'objects'), { sweepEvery: 0 })
  bench.after(() => rows.close())
  const store = await dress(rows)
  const made = await store.createBucket(bucket, { owner: owner.domainId, region, created: Date.now() })
  const id: string | undefined = made.id // revisions before buckets had ids are called by their names
  // Called without types, since two revisions differ in what they take.
  const call = (method: Exclude<keyof ObjectStore, 'id'>, ...args: readonly unknown[]) =>
    Reflect.apply(store[method], store, args)
  const at = id ?? bucket
  return {
    whole: store,
    createBody: options => store.createBody(options),
    put: (key, record, body) => call('putObject', id === undefined ? bucket : made, key, record, body),
    copy: async (from, to, record) => {
      const source: (NonNullable<Opened>['record'] & { readonly version?: string }) | undefined = await call(
        'getObject',
        at,
        from,
      )
      if (source?.envelope === undefined) throw new Error('the source is not there')
      const { revision, version } = source
      const target = await record(source.envelope)
      if (id === undefined) await call('copyObject', { bucket, key: from, version }, { bucket, key: to }, target)
      else await call('copyObject', { bucketId: id, key: from, revision }, made, to, target)
    },
    open: key => call('openObject', at, key),
    list: (after, limit) => call('listObjects', at, { after, limit }),
  }
}

/** Binds a data key to its object, as the gateway does. */
export const contextOf = (key: string): Readonly<Record<string, string>> => ({
  'aws:s3:arn': `arn:aws:s3:::${bucket}/${key}`,
})

/** Puts an object into the store, sealed where there is a façade for it. */
export const putObject = async (
  store: Store,
  key: string,
  chunks: Iterable<Uint8Array>,
  size: number,
  sse?: Sse,
): Promise<void> => {
  const said = described(size)
  const put = await sse?.encrypt({ context: contextOf(key), length: size })
  const body = await store.createBody({ expectedSize: put?.planned?.storedLength ?? size })
  if (put === undefined) {
    await pipeline(readable(chunks), body.writable)
    await store.put(key, { ...said, kind: 'plain', etag: 'none' }, body)
    return
  }
  const pieces: typeof put.pieces | undefined = put.pieces // another revision may have none
  if (pieces === undefined) await pipeline(readable(chunks), put.stream, body.writable)
  else await pipeline(pieces(chunks), body.writable)
  const { etag, envelope } = put.result()
  await store.put(key, { ...said, kind: 'sse-kms', etag, envelope }, body)
}
