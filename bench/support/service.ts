/** A key store, a façade and an object store as a server has them, in a folder that goes with the case. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Bench } from '../harness.ts'
import type { Lib } from '../lib.ts'
import { readable } from './streams.ts'

type Kms = Awaited<ReturnType<Lib['core']['LocalKms']['open']>>
type Sse = ReturnType<Lib['core']['createSse']>
type Store = Awaited<ReturnType<Lib['store']['openFileStore']>>

/** The tenant that everything belongs to. */
export const owner = { domainId: 'bench', projectId: 'bench-project' }
/** The region of everything. */
export const region = 'sichuan'
/** The bucket of everything. */
export const bucket = 'bench'

/** A service without its gateway. */
export interface Service {
  readonly directory: string
  readonly kms: Kms
  readonly keyId: string
  readonly sse: Sse
}

/** Opens one, with a key of its tenant. */
export const openService = async (bench: Bench): Promise<Service> => {
  const { core } = bench.lib
  const directory = await bench.directory()
  const kms = await core.LocalKms.open(join(directory, 'keys'), { root: { key: new Uint8Array(randomBytes(32)) } })
  bench.after(() => kms.close())
  const { keyId } = await kms.defaultKey({ region, domainId: owner.domainId })
  return { directory, kms, keyId, sse: core.createSse({ kms, accept: [keyId] }) }
}

/** An object store with one bucket. */
export const openStore = async (bench: Bench, directory: string): Promise<Store> => {
  const store = await bench.lib.store.openFileStore(join(directory, 'objects'), { sweepEvery: 0 })
  bench.after(() => store.close())
  await store.createBucket(bucket, { owner: owner.domainId, region, created: Date.now() })
  return store
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
  const said = { size, headers: {}, attributes: {}, owner: owner.domainId, modified: Date.now() }
  const put = await sse?.encrypt({ context: contextOf(key), length: size })
  const body = await store.createBody({ expectedSize: put?.planned?.storedLength ?? size })
  if (put === undefined) {
    await pipeline(readable(chunks), body.writable)
    await store.putObject(bucket, key, { ...said, kind: 'plain', etag: 'none' }, body)
    return
  }
  const pieces: typeof put.pieces | undefined = put.pieces // another revision may have none
  if (pieces === undefined) await pipeline(readable(chunks), put.stream, body.writable)
  else await pipeline(pieces(chunks), body.writable)
  const { etag, envelope } = put.result()
  await store.putObject(bucket, key, { ...said, kind: 'sse-kms', etag, envelope }, body)
}
