/** A gateway over real parts, in this process and a fresh folder: two tenants, each with a tenant_admin and an ordinary user. */
import { S3Client } from '@aws-sdk/client-s3'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { createGateway } from '../../lib/gateway/gateway.ts'
import { authenticateStore } from '../../lib/gateway/index-key.ts'
import type { AccessLogEntry, GatewayOptions, GatewayUser } from '../../lib/gateway/options.ts'
import type { BucketKeyOptions } from '../../lib/kms/bucket-keys.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { createSse, type NodeSseOptions } from '../../lib/object/node.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { tenantAdmin } from '../../lib/sse/profile.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { byName, type StoreByName } from './by-name.ts'
import { spyKms, type SpiedKms } from './spy.ts'

/** The region of every gateway here. */
export const region = 'sichuan'

const user = (domain: string, name: string, roles: readonly string[]): GatewayUser => ({
  domainId: domain,
  projectId: `project-of-${domain}`,
  name,
  roles,
  accessKeyId: `AK${domain}${name}`,
  secretAccessKey: `secret of ${domain} ${name}`,
})

/** The owner's tenant: what tests write belongs to it, unless they say otherwise. */
export const admin: GatewayUser = user('domain1', 'admin', [tenantAdmin])
/** An ordinary user of the same tenant. */
export const ordinary: GatewayUser = user('domain1', 'ordinary', [])
/** Another tenant. */
export const stranger: GatewayUser = user('domain2', 'admin', [tenantAdmin])
/** An ordinary user of that one. */
export const strangersUser: GatewayUser = user('domain2', 'ordinary', [])

const users = [admin, ordinary, stranger, strangersUser]

/** An answer, read to its end. */
export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The body as text. */
  readonly text: string
  /** `<Code>` of an error. */
  readonly code: string | undefined
}

/** What is sent beside method and path. */
export interface Sent {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** A gateway that runs. */
export interface TestGateway {
  readonly url: string
  readonly host: string
  readonly store: ObjectStore
  /** The same store without the MACs of its rows: what somebody has who can write the index. */
  readonly rows: ObjectStore
  /** The store by the names of its buckets. */
  readonly byName: StoreByName
  readonly kms: LocalKms
  /** How often the KMS made data keys and unwrapped them. */
  readonly calls: SpiedKms<LocalKms>['calls']
  /** Folder of the object store. */
  readonly directory: string
  /** What was logged. */
  readonly log: readonly AccessLogEntry[]
  /** Sends a request that this user signs (Signature Version 4), or nobody. `path` is raw, with its query. */
  signedFetch(
    who: GatewayUser | undefined,
    method: string,
    path: string,
    sent?: Sent,
    signedRegion?: string,
  ): Promise<Reply>
  /** Amazon's own client. */
  client(who?: GatewayUser): S3Client
}

const splitQuery = (raw: string): Record<string, string> =>
  Object.fromEntries([...new URLSearchParams(raw)].map(([name, value]) => [name, value]))

/** What a gateway is made of beside its options. */
export interface GatewayParts extends Pick<NodeSseOptions, 'engine'> {
  readonly bucketKeys?: BucketKeyOptions
  /** Opens the store below the MACs, in this folder; the embedded one by default. */
  readonly openRows?: (directory: string) => Promise<ObjectStore>
}

/** Starts a gateway; the test's end stops it. */
export const startGateway = async (
  t: Pick<Test, 'teardown'>,
  { bucketKeys, engine, openRows, ...options }: Partial<GatewayOptions> & GatewayParts = {},
): Promise<TestGateway> => {
  // Not testdir, which a second gateway of the same test would empty.
  const folder = await mkdtemp(join(tmpdir(), 'gateway-'))
  const directory = join(folder, 'objects')
  const kms = await LocalKms.open(join(folder, 'keys'), { root: { key: new Uint8Array(32).fill(7) } })
  const rows = await (openRows?.(directory) ?? openFileStore(directory, { sweepEvery: 0 }))
  const plain = createSse({ kms, accept: [] }) // its calls are not counted
  const store = await authenticateStore(rows, { kms, sse: plain, region })
  const log: AccessLogEntry[] = []
  const { kms: counted, calls } = spyKms(kms)
  const sse = createSse({ kms: counted, accept: [], bucketKeys, engine })
  const handler = createGateway({
    store,
    kms,
    sse,
    profile: createProfile('obs', { region }),
    tenants: [admin, stranger].map(({ domainId, projectId }) => ({ domainId, projectId })),
    users,
    log: entry => log.push(entry),
    ...options,
  })
  const server = createServer({ keepAliveTimeout: 60_000 }, handler)
    .on('checkContinue', handler)
    .on('clientError', handler.clientError)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const host = `127.0.0.1:${port}`
  const clients: S3Client[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
    await store.close()
    sse.dispose()
    kms.close()
    await rm(folder, { recursive: true })
  })

  const signedFetch: TestGateway['signedFetch'] = async (who, method, path, sent = {}, signedRegion = region) => {
    const { headers = {}, body } = sent
    const [pathname = '/', query = ''] = path.split('?')
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const unsigned = { host, ...length, ...headers }
    const signer = new SignatureV4({
      service: 's3',
      region: signedRegion,
      sha256: Sha256,
      uriEscapePath: false,
      credentials: { accessKeyId: who?.accessKeyId ?? '', secretAccessKey: who?.secretAccessKey ?? '' },
    })
    const wire = { method, protocol: 'http:', hostname: '127.0.0.1', port, path: pathname, headers: unsigned, body }
    const signed = who === undefined ? wire : await signer.sign({ ...wire, query: splitQuery(query) })
    const req = request({ host: '127.0.0.1', port, method, path, headers: signed.headers })
    req.end(body)
    const [res] = await once(req, 'response')
    const bytes: Buffer = await buffer(res)
    const text = bytes.toString()
    return {
      status: res.statusCode,
      headers: res.headers,
      body: bytes,
      text,
      code: /<Code>(.*?)<\/Code>/.exec(text)?.[1],
    }
  }

  const client = (who: GatewayUser = admin): S3Client => {
    const made = new S3Client({ endpoint: `http://${host}`, region, forcePathStyle: true, credentials: who })
    clients.push(made)
    return made
  }
  return {
    url: `http://${host}`,
    host,
    store,
    rows,
    byName: byName(store),
    kms,
    calls,
    directory,
    log,
    signedFetch,
    client,
  }
}
