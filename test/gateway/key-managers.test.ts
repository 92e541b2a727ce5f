/**
 * The gateway over each key manager, with Amazon's own client: the first object makes the default key; put, get, range, multipart and copy
 * under SSE-KMS; what is stored belongs to the tenant's keys; a disabled key stops what it must; each use of a key is told.
 */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { authenticateStore } from '../../lib/gateway/index-key.ts'
import type { KeyUseEntry } from '../../lib/gateway/options.ts'
import { claimedKeyId } from '../../lib/envelope/envelope.ts'
import { guarded } from '../../lib/kms/decorators/guarded.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import { clientKeyId, type KeyRegister, registered } from '../../lib/kms/registered.ts'
import { type MemoryFault, memoryKms } from '../../lib/kms/testing/memory.ts'
import { createSse } from '../../lib/object/node.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { noMoto, startMoto } from '../support/aws.ts'
import { byName } from '../support/by-name.ts'
import { admin, region, startGateway, stranger } from '../support/gateway.ts'
import { startHuawei } from '../support/huawei.ts'
import { kmipMissing, startKmip } from '../support/kmip.ts'
import { noSoftHsm, startSoftHsm } from '../support/pkcs11.ts'
import { startVault } from '../support/vault.ts'

/** A key manager that runs. */
interface Started {
  readonly kms: KeyManager
  stop(): unknown
}

const managers: Readonly<Record<string, { readonly skip?: string | false; start(t: Test): Promise<Started> }>> = {
  memory: {
    start: async () => {
      const kms = memoryKms()
      return { kms, stop: () => kms.close() }
    },
  },
  'SoftHSM, AES-GCM': { skip: noSoftHsm, start: t => startSoftHsm(t.testdir()) },
  PyKMIP: { skip: kmipMissing, start: startKmip },
  'moto (AWS KMS)': { skip: noMoto, start: startMoto },
  'stand-in for Vault': { start: () => startVault() },
  'stand-in for DEW': { start: startHuawei },
}

/** A register in memory. */
const register = (): KeyRegister => {
  const rows = new Map<string, string>()
  return {
    claim: async (name, value) => rows.get(name) ?? (rows.set(name, value), value),
    claims: async () => rows,
  }
}

const partSize = 100 * 1024
const text = (n: number): string => 'sse-kms '.repeat(n)

for (const [name, { skip = false, start }] of Object.entries(managers)) {
  t.test(`the gateway over ${name}`, { skip }, async t => {
    const started = await start(t)
    t.teardown(() => started.stop())
    const kms = guarded(started.kms)
    const folder = await mkdtemp(join(tmpdir(), 'managers-'))
    const rows = await openFileStore(join(folder, 'objects'), { sweepEvery: 0 })
    const open = () => createSse({ kms, accept: [] })
    const store = await authenticateStore(rows, { kms: registered(kms), sse: open(), region })
    t.teardown(async () => {
      await store.close()
      await rm(folder, { recursive: true })
    })
    const uses: KeyUseEntry[] = []
    const keys = registered(kms, { register: store })
    const gateway = await startGateway(t, { store, kms: keys, sse: open(), audit: use => uses.push(use) })
    const s3 = gateway.client()
    const [Bucket, Key] = ['photos', 'cat']
    await s3.send(new CreateBucketCommand({ Bucket }))
    const sse = { ServerSideEncryption: 'aws:kms' } as const

    const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body: text(50_000), ...sse }))
    const { keyId, arn } = await keys.defaultKey({ region, domainId: admin.domainId })
    t.equal(put.SSEKMSKeyId, arn, 'the first object made the default key')
    t.equal(arn, `arn:aws:kms:${region}:${admin.domainId}:key/${clientKeyId(keyId)}`)
    const stored = await byName(store).getObject(Bucket, Key)
    t.equal(claimedKeyId(stored?.envelope ?? new Uint8Array()), keyId, 'the record has the id of the key manager')
    const got = await s3.send(new GetObjectCommand({ Bucket, Key }))
    t.equal(await got.Body?.transformToString(), text(50_000))
    t.equal(got.SSEKMSKeyId, arn)
    const range = await s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=100000-100015' }))
    t.equal(await range.Body?.transformToString(), text(2))
    t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key }))).SSEKMSKeyId, arn)
    t.match(
      uses.map(({ operation, action, outcome, user, key }) => ({ operation, action, outcome, user, key })),
      [{ operation: 'generate', action: 'PutObject', outcome: 'ok', user: 'admin', key: Key }],
    )
    t.ok(
      uses.some(use => use.operation === 'unwrap' && use.action === 'GetObject' && use.cached),
      'cached uses, too',
    )
    t.ok(uses.every(use => use.keyId === keyId || use.tenant === admin.domainId))

    const named = { Bucket, Key: 'parts' }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...named, ...sse, BucketKeyEnabled: true }))
    const Parts = []
    for (const PartNumber of [2, 1]) {
      const Body = new Uint8Array(partSize).fill(PartNumber)
      const { ETag } = await s3.send(new UploadPartCommand({ ...named, UploadId, PartNumber, Body }))
      Parts.unshift({ PartNumber, ETag })
    }
    await s3.send(new CompleteMultipartUploadCommand({ ...named, UploadId, MultipartUpload: { Parts } }))
    const whole = await s3.send(new GetObjectCommand(named))
    const bytes = (await whole.Body?.transformToByteArray()) ?? new Uint8Array()
    t.strictSame([bytes.length, bytes[0], bytes[partSize]], [2 * partSize, 1, 2])
    t.equal(whole.BucketKeyEnabled, true)

    await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}`, ...sse }))
    const copy = await s3.send(new GetObjectCommand({ Bucket, Key: 'copy' }))
    t.equal(await copy.Body?.transformToString(), text(50_000))

    // Another tenant's default key is another key, and this tenant's objects do not open under it.
    const others = gateway.client(stranger)
    await others.send(new CreateBucketCommand({ Bucket: 'films' }))
    const film = await others.send(new PutObjectCommand({ Bucket: 'films', Key, Body: 'film', ...sse }))
    t.not(film.SSEKMSKeyId, arn)
    const rule = { Bucket, Key: 'theirs', Body: 'x', ...sse, SSEKMSKeyId: film.SSEKMSKeyId }
    await t.rejects(s3.send(new PutObjectCommand(rule)), { name: /AccessDenied|KMS/ })

    if (kms.disable === undefined || name.startsWith('moto')) {
      t.comment(`${name} disables no keys`)
      return
    }
    await kms.disable(keyId)
    await t.rejects(s3.send(new PutObjectCommand({ Bucket, Key, Body: 'new', ...sse })), { name: /KMS.Disabled/ })
    await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'copy' })), { name: /KMS.Disabled/ })
    const film2 = await others.send(new GetObjectCommand({ Bucket: 'films', Key }))
    t.equal(await film2.Body?.transformToString(), 'film', "another tenant's key is not touched")
    if (kms.enable === undefined) return
    await kms.enable(keyId)
    const again = await s3.send(new GetObjectCommand({ Bucket, Key }))
    t.equal(await again.Body?.transformToString(), text(50_000), 'the old object is whole')
  })
}

t.test(
  'a key manager that cannot be reached: 503 with Retry-After, nothing is stored, reads under a key in memory go on',
  async t => {
    const state: { fault: MemoryFault | undefined } = { fault: undefined }
    const kms = memoryKms({ fault: () => state.fault })
    const gateway = await startGateway(t, {
      kms: registered(kms, { register: register() }),
      sse: createSse({ kms, accept: [] }),
    })
    const sse = { 'x-amz-server-side-encryption': 'aws:kms' }
    await gateway.signedFetch(admin, 'PUT', '/photos')
    const warm = { ...sse, 'x-amz-server-side-encryption-bucket-key-enabled': 'true' }
    t.equal((await gateway.signedFetch(admin, 'PUT', '/photos/warm', { body: 'warm', headers: warm })).status, 200)
    t.equal((await gateway.signedFetch(admin, 'GET', '/photos/warm')).text, 'warm')
    state.fault = 'unavailable'
    const put = await gateway.signedFetch(admin, 'PUT', '/photos/cold', { body: 'cold', headers: sse })
    t.strictSame([put.status, put.code, put.headers['retry-after']], [503, 'ServiceUnavailable', '1'])
    t.equal((await gateway.signedFetch(admin, 'GET', '/photos/warm')).text, 'warm')
    state.fault = undefined
    t.equal((await gateway.signedFetch(admin, 'GET', '/photos/cold')).code, 'NoSuchKey')
  },
)
