// What somebody gets who can write the index, and has no key: rows changed, moved, exchanged and made up under a running gateway.
import { createHmac } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { authenticateStore } from '../../lib/gateway/index-key.ts'
import { createGateway } from '../../lib/gateway/gateway.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { createSse } from '../../lib/object/node.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { authenticated } from '../../lib/store/authenticated.ts'
import { Database } from '../../lib/store/file/database.ts'
import { encodeKey } from '../../lib/store/file/keys.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { Bucket } from '../../lib/store/records.ts'
import type { ObjectStore } from '../../lib/store/store.ts'
import { admin, region, type Reply, startGateway, stranger, type TestGateway } from '../support/gateway.ts'
import { put } from '../support/store.ts'

const profile = createProfile('s3', { region })
const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const secret = 'nobody else may read this'
const denyAll = JSON.stringify({
  Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:PutObject', Resource: 'arn:aws:s3:::bucket/*' }],
})
const encryption =
  '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>' +
  '</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'

interface Scene extends TestGateway {
  readonly tables: Database['tables']
  /** Id of the bucket. */
  readonly id: string
  /** Id of an open upload of `upload`, under SSE-KMS. */
  readonly uploadId: string
  /** Runs a change of the index behind the gateway's back. */
  attack(change: () => void): Promise<void>
}

/** A bucket with a plain object, one under SSE-KMS and an open upload under SSE-KMS; and the index in an attacker's hands. */
const scene = async (t: Test): Promise<Scene> => {
  const gateway = await startGateway(t, { profile })
  const { signedFetch } = gateway
  const done = async (reply: Promise<Reply>) => {
    const { status, text } = await reply
    if (status >= 300) throw new Error(text)
    return text
  }
  await done(signedFetch(admin, 'PUT', '/bucket'))
  await done(signedFetch(admin, 'PUT', '/bucket/plain', { body: 'of the owner alone' }))
  await done(signedFetch(admin, 'PUT', '/bucket/sealed', { body: secret, headers: kms }))
  const upload = await done(signedFetch(admin, 'POST', '/bucket/upload?uploads=', { headers: kms }))
  const database = await Database.open(join(gateway.directory, 'index'))
  t.teardown(() => database.close())
  const id = (await gateway.store.getBucket('bucket'))?.id ?? ''
  const uploadId = /<UploadId>(.*?)<\/UploadId>/.exec(upload)?.[1] ?? ''
  return { ...gateway, tables: database.tables, id, uploadId, attack: change => database.write(change) }
}

/** Replaces a row by what it becomes. */
const rewrite = <T>(
  table: { get(key: Uint8Array): T | undefined; putSync(key: Uint8Array, value: T): unknown },
  key: Uint8Array,
  change: (row: T) => T,
): void => {
  const row = table.get(key)
  if (row === undefined) throw new Error('there is no such row')
  table.putSync(key, change(row))
}

const bucketRow = encodeKey('bucket')

interface Case {
  readonly name: string
  /** What the owner does first. */
  readonly before?: (scene: Scene) => Promise<unknown>
  readonly change: (scene: Scene) => void
  /** What would be gained by it. */
  readonly request: (scene: Scene) => Promise<Reply>
}

const cases: readonly Case[] = [
  {
    name: 'refused: a bucket is given to another tenant',
    change: ({ tables }) => rewrite(tables.buckets, bucketRow, row => ({ ...row, owner: stranger.domainId })),
    request: ({ signedFetch }) => signedFetch(stranger, 'GET', '/bucket/plain'),
  },
  {
    name: 'refused: the ACL of a bucket is opened',
    change: ({ tables }) => rewrite(tables.buckets, bucketRow, row => ({ ...row, settings: { acl: 'public-read' } })),
    request: ({ signedFetch }) => signedFetch(undefined, 'GET', '/bucket'),
  },
  {
    name: 'refused: a policy is taken away',
    before: ({ signedFetch }) => signedFetch(admin, 'PUT', '/bucket?policy=', { body: denyAll }),
    change: ({ tables }) => rewrite(tables.buckets, bucketRow, row => ({ ...row, settings: {} })),
    request: ({ signedFetch }) => signedFetch(admin, 'PUT', '/bucket/new', { body: secret }),
  },
  {
    name: 'refused: the default encryption is taken away',
    before: ({ signedFetch }) => signedFetch(admin, 'PUT', '/bucket?encryption=', { body: encryption }),
    change: ({ tables }) => rewrite(tables.buckets, bucketRow, row => ({ ...row, settings: {} })),
    request: ({ signedFetch }) => signedFetch(admin, 'PUT', '/bucket/new', { body: secret }),
  },
  {
    name: 'refused: a bucket is put in the place of another one',
    before: ({ signedFetch }) => signedFetch(stranger, 'PUT', '/theirs'),
    change: ({ tables, id }) => rewrite(tables.buckets, encodeKey('theirs'), row => ({ ...row, id })),
    request: ({ signedFetch }) => signedFetch(stranger, 'GET', '/theirs/plain'),
  },
  {
    name: 'refused: a bucket is made up',
    change: ({ tables, id }) => {
      const made = { id, revision: 'r', name: 'made', owner: stranger.domainId, region, created: 1, settings: {} }
      tables.buckets.putSync(encodeKey('made'), made)
    },
    request: ({ signedFetch }) => signedFetch(stranger, 'GET', '/made/plain'),
  },
  {
    name: 'refused: the ACL of an object is opened',
    change: ({ tables, id }) =>
      rewrite(tables.objects, encodeKey(id, 'plain'), row => ({ ...row, notes: { acl: 'public-read' } })),
    request: ({ signedFetch }) => signedFetch(undefined, 'GET', '/bucket/plain'),
  },
  {
    name: 'refused: an object under SSE-KMS is called plain, so that others may delete it',
    before: ({ signedFetch }) =>
      signedFetch(admin, 'PUT', '/bucket?acl=', { headers: { 'x-amz-acl': 'public-read-write' } }),
    change: ({ tables, id }) =>
      rewrite(tables.objects, encodeKey(id, 'sealed'), row => ({ ...row, kind: 'plain' as const })),
    request: ({ signedFetch }) => signedFetch(stranger, 'DELETE', '/bucket/sealed'),
  },
  {
    name: 'refused: the same, so that others may overwrite it',
    before: ({ signedFetch }) =>
      signedFetch(admin, 'PUT', '/bucket?acl=', { headers: { 'x-amz-acl': 'public-read-write' } }),
    change: ({ tables, id }) =>
      rewrite(tables.objects, encodeKey(id, 'sealed'), row => ({ ...row, kind: 'plain' as const })),
    request: ({ signedFetch }) => signedFetch(stranger, 'PUT', '/bucket/sealed', { body: 'theirs' }),
  },
  {
    name: 'refused: an object is moved',
    change: ({ tables, id }) => {
      for (const table of [tables.objects, tables.contents]) {
        const row = table.get(encodeKey(id, 'plain'))
        if (row !== undefined) Reflect.apply(table.putSync, table, [encodeKey(id, 'moved'), row])
      }
    },
    request: ({ signedFetch }) => signedFetch(admin, 'GET', '/bucket/moved'),
  },
  {
    name: 'refused: headers of an object are changed',
    change: ({ tables, id }) =>
      rewrite(tables.objects, encodeKey(id, 'plain'), row => ({ ...row, headers: { 'content-type': 'text/html' } })),
    request: ({ signedFetch }) => signedFetch(admin, 'HEAD', '/bucket/plain'),
  },
  {
    name: 'refused: the envelope of an object is exchanged',
    change: ({ tables, id }) => {
      const { envelope } = tables.contents.get(encodeKey(id, 'sealed')) ?? {}
      rewrite(tables.contents, encodeKey(id, 'plain'), row => ({ ...row, envelope }))
    },
    request: ({ signedFetch }) => signedFetch(admin, 'GET', '/bucket/plain'),
  },
  {
    name: 'refused: checksums of parts are given to an object',
    change: ({ tables, id }) =>
      rewrite(tables.contents, encodeKey(id, 'plain'), row => ({ ...row, partValues: new Uint8Array(4) })),
    request: ({ signedFetch }) => signedFetch(admin, 'GET', '/bucket/plain'),
  },
  {
    name: 'refused: an object loses its MAC',
    change: ({ tables, id }) => rewrite(tables.contents, encodeKey(id, 'plain'), ({ mac: _mac, ...row }) => row),
    request: ({ signedFetch }) => signedFetch(admin, 'GET', '/bucket/plain'),
  },
  {
    name: 'refused: the tags of a changed object are put',
    change: ({ tables, id }) =>
      rewrite(tables.objects, encodeKey(id, 'plain'), row => ({ ...row, notes: { acl: 'public-read' } })),
    request: ({ signedFetch }) => signedFetch(admin, 'DELETE', '/bucket/plain?tagging='),
  },
  {
    name: 'refused: an open upload under SSE-KMS is made a plain one',
    change: ({ tables, id, uploadId }) =>
      rewrite(
        tables.uploads,
        encodeKey(id, 'upload', uploadId),
        ({ upload: { session: _session, ...upload }, ...row }) => ({
          ...row,
          upload: { ...upload, kind: 'plain' as const, notes: {} },
        }),
      ),
    request: ({ signedFetch, uploadId }) =>
      signedFetch(admin, 'PUT', `/bucket/upload?partNumber=1&uploadId=${uploadId}`, { body: secret }),
  },
  {
    name: 'refused: the same, completed',
    before: ({ signedFetch, uploadId }) =>
      signedFetch(admin, 'PUT', `/bucket/upload?partNumber=1&uploadId=${uploadId}`, { body: secret }),
    change: ({ tables, id, uploadId }) =>
      rewrite(tables.uploads, encodeKey(id, 'upload', uploadId), row => ({
        ...row,
        upload: { ...row.upload, owner: stranger.domainId },
      })),
    request: ({ signedFetch, uploadId }) =>
      signedFetch(admin, 'POST', `/bucket/upload?uploadId=${uploadId}`, {
        body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"${'0'.repeat(64)}"</ETag></Part></CompleteMultipartUpload>`,
      }),
  },
]

for (const { name, before, change, request } of cases) {
  t.test(name, async t => {
    const made = await scene(t)
    await before?.(made)
    const keys = await made.byName.keys('bucket')
    await made.attack(() => change(made))
    const reply = await request(made)
    t.equal(reply.status, 500)
    t.notMatch(reply.text, /alone|nobody/)
    t.equal(made.log.at(-1)?.error?.code, 'IndexNotAuthentic')
    t.same(
      (await made.rows.listObjects(made.id, { limit: 10 })).entries
        .map(({ key }) => key)
        .filter(key => key !== 'moved'),
      keys,
    )
  })
}

t.test('what was not touched goes on, and a row that is put back is trusted again', async t => {
  const made = await scene(t)
  const { signedFetch, tables, id, attack } = made
  const key = encodeKey(id, 'sealed')
  const row = tables.objects.get(key)
  await attack(() => rewrite(tables.objects, key, old => ({ ...old, owner: stranger.domainId })))
  t.equal((await signedFetch(admin, 'GET', '/bucket/sealed')).status, 500)
  t.equal((await signedFetch(admin, 'GET', '/bucket/plain')).text, 'of the owner alone')
  await attack(() => row && tables.objects.putSync(key, row))
  t.equal((await signedFetch(admin, 'GET', '/bucket/sealed')).text, secret)
})

t.test('an older row as a whole is not told from the newest one, as the threat model says', async t => {
  const { signedFetch, tables, attack } = await scene(t)
  const older = tables.buckets.get(bucketRow)
  await signedFetch(admin, 'PUT', '/bucket?policy=', { body: denyAll })
  t.equal((await signedFetch(admin, 'PUT', '/bucket/new', { body: 'x' })).status, 403)
  await attack(() => older && tables.buckets.putSync(bucketRow, older))
  t.equal((await signedFetch(admin, 'PUT', '/bucket/new', { body: 'x' })).status, 200)
})

t.test('the default key of a tenant cannot be replaced by another one', async t => {
  const { signedFetch, tables, attack, store, kms: keys } = await scene(t)
  const name = `default-key/${region}/${admin.domainId}`
  const row = encodeKey(`authenticated/${name}`)
  t.match(await store.claims(), new Map([[name, /^arn:aws:kms:/]]))
  const { keyId } = await keys.createKey({ region, domainId: admin.domainId })
  await attack(() => rewrite(tables.claims, row, old => `${old.slice(0, old.indexOf('.'))}.${keyId}`))
  await t.rejects(store.claims(), { code: 'IndexNotAuthentic' })
  await t.rejects(store.claim(name, 'another'), { code: 'IndexNotAuthentic' })
  // The running gateway has read the claim before the attack.
  t.equal((await signedFetch(admin, 'PUT', '/bucket/new', { body: 'x', headers: kms })).status, 200)
})

/** A store and what its index key is kept with. */
const parts = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'index-key-'))
  const store = await openFileStore(join(folder, 'objects'), { sweepEvery: 0 })
  const openKms = async (name: string) => {
    const kms = await LocalKms.open(join(folder, name), { root: { key: new Uint8Array(32).fill(7) } })
    const sse = createSse({ kms, accept: [] })
    t.teardown(() => {
      sse.dispose()
      kms.close()
    })
    return { kms, sse, region }
  }
  t.teardown(async () => {
    await store.close()
    await rm(folder, { recursive: true })
  })
  return { store, openKms, folder }
}

const bucket = { owner: 'domain1', region, created: 1 }

t.test('an index and the key store of another one do not meet', async t => {
  const { store, openKms } = await parts(t)
  await (await authenticateStore(store, await openKms('keys'))).createBucket('bucket', bucket)
  const others = await openKms('other')
  await t.rejects(authenticateStore(store, others), { code: 'KeyringCorrupt', message: /default key of the service/ })
  await others.kms.defaultKey({ region, domainId: 'sse-s3' })
  await t.rejects(authenticateStore(store, others), {
    code: 'IndexNotAuthentic',
    message: /key store that belong together/,
  })
  t.equal((await (await authenticateStore(store, await openKms('keys'))).getBucket('bucket'))?.owner, 'domain1')
})

t.test('an index key belongs to one store', async t => {
  const first = await parts(t)
  const keys = await first.openKms('keys')
  await authenticateStore(first.store, keys)
  const second = await parts(t)
  const claim = (await first.store.claims()).get('index-key') ?? ''
  await second.store.claim('index-key', claim)
  await t.rejects(authenticateStore(second.store, keys), { code: 'IndexNotAuthentic' })
})

t.test('an index whose key was taken away is refused, and so is one that was changed', async t => {
  const { store, openKms, folder } = await parts(t)
  const keys = await openKms('keys')
  await (await authenticateStore(store, keys)).createBucket('bucket', bucket)
  const database = await Database.open(join(folder, 'objects', 'index'))
  t.teardown(() => database.close())
  const row = encodeKey('index-key')
  const kept = database.tables.claims.get(row) ?? ''
  for (const text of [`${kept.slice(0, -9)}A${kept.slice(-8)}`, kept.slice(0, -4), 'AAAA', '', '%']) {
    await database.write(() => database.tables.claims.putSync(row, text))
    await t.rejects(authenticateStore(store, keys), { code: 'IndexNotAuthentic' }, text)
  }
  await database.write(() => database.tables.claims.removeSync(row))
  await t.rejects(authenticateStore(store, keys), { code: 'IndexNotAuthentic', message: /no index key/ })
})

t.test('two that open a new store at once have the same index key', async t => {
  const { store, openKms } = await parts(t)
  const keys = await openKms('keys')
  const [one, other] = await Promise.all([authenticateStore(store, keys), authenticateStore(store, keys)])
  await one.createBucket('bucket', bucket)
  t.equal((await other.getBucket('bucket'))?.owner, 'domain1')
})

t.test('a gateway over rows that were made without the key serves none of them', async t => {
  const { store: rows, openKms } = await parts(t)
  const { kms, sse } = await openKms('keys')
  const store: ObjectStore = await authenticateStore(rows, { kms, sse, region })
  t.type(createGateway({ store, kms, sse, profile, tenants: [], users: [] }), 'function')
  const made = await rows.createBucket('bucket', bucket)
  await t.rejects(store.getBucket('bucket'), { code: 'IndexNotAuthentic' })
  await put(rows, made, 'key', Buffer.from('x'))
  await t.rejects(store.getObject(made.id, 'key'), { code: 'IndexNotAuthentic' })
  await t.rejects(store.openObject(made.id, 'key'), { code: 'IndexNotAuthentic' })
})

t.test('an index key has 32 bytes', async t => {
  const { store } = await parts(t)
  t.throws(() => authenticated(store, new Uint8Array(31)), RangeError)
})

t.test(
  'the MAC of a bucket covers its JSON, names in order; each member counts, also once the row was found authentic',
  async t => {
    const rows = await openFileStore(t.testdir(), { sweepEvery: 0 })
    t.teardown(() => rows.close())
    const key = Buffer.alloc(32, 7)
    const store = authenticated(rows, key)
    const made = await store.createBucket('photos', {
      ...{ id: 'f'.repeat(32), owner: 'owner', region, created: 5 },
      settings: { policy: '"ü"\n', acl: 'public-read' },
    })
    const text = `{"created":5,"id":"${'f'.repeat(32)}","name":"photos","owner":"owner","region":"${region}","row":"bucket","settings":{"acl":"public-read","policy":"\\"ü\\"\\n"}}`
    t.strictSame(Buffer.from(made.mac ?? []), createHmac('sha256', key).update(text).digest())
    let row: Bucket | undefined = made
    const over = authenticated({ ...rows, getBucket: async () => row }, key)
    t.strictSame(await over.getBucket('photos'), made)
    const changes: readonly Partial<Bucket>[] = [
      { id: 'e'.repeat(32) },
      { owner: 'other' },
      { region: 'other' },
      { created: 6 },
      { settings: { acl: 'public-read' } },
      { settings: { ...made.settings, cors: '' } },
      { mac: Buffer.alloc(32) },
      { mac: undefined },
    ]
    for (const change of changes) {
      row = { ...made, ...change }
      await t.rejects(over.getBucket('photos'), { code: 'IndexNotAuthentic' }, JSON.stringify(change))
    }
    row = made
    await t.rejects(over.getBucket('others'), { code: 'IndexNotAuthentic' }, 'under another name')
    t.strictSame(await over.getBucket('photos'), made)
  },
)
