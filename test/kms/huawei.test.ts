/** The key manager over Huawei Cloud's key service, against a stand-in of its documented messages. No live service was reached. */
import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { equal } from '../../lib/bytes.ts'
import { parseEnvelope } from '../../lib/envelope/envelope.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { huaweiKms } from '../../lib/kms/huawei/huawei.ts'
import { authorization } from '../../lib/kms/huawei/sign.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { createSse } from '../../lib/object/node.ts'
import { runConformance } from '../../lib/testing.ts'
import { bodyOf, get, put } from '../support/body.ts'
import { startHuawei } from '../support/huawei.ts'

const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const started: Awaited<ReturnType<typeof startHuawei>>[] = []
t.afterEach(async () => {
  for (const each of started.splice(0)) await each.stop()
})
const start = async () => {
  const each = await startHuawei()
  started.push(each)
  return each
}

t.test('the published example of a signature', async t => {
  const path = '/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?marker=13551d6b-755d-4757-b956-536f674975c0&limit=2'
  const headers = {
    host: 'service.region.example.com',
    'x-sdk-date': '20191115T033655Z',
    'content-type': 'application/json',
  }
  t.equal(
    authorization({ method: 'GET', path, headers }, 'QTWAOYTTINDUT2QVKYUC', 'MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc'),
    'SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, ' +
      'Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe',
  )
})

t.test('the conformance suite', async t => {
  const report = await runConformance(await start())
  for (const { name, outcome, reason = '' } of report.results) t.not(outcome, 'failed', `${name} ${reason}`)
  t.ok(report.passed && report.results.length > 10)
})

t.test('credentials: access keys, temporary ones, tokens, functions', async t => {
  const { dew, open, keyId } = await start()
  const { accessKey, secretKey, securityToken, token } = dew
  for (const credentials of [
    { accessKey, secretKey, securityToken },
    { token },
    async () => ({ accessKey, secretKey }),
  ]) {
    const kms = open({ credentials })
    t.match(await kms.describe('photos'), { keyId, state: 'enabled', name: 'photos', created: Number })
    await kms.close?.()
  }
  for (const credentials of [
    { accessKey, secretKey: 'WRONG' },
    { token: 'WRONG' },
    { accessKey, secretKey, securityToken: 'WRONG' },
  ]) {
    const kms = open({ credentials })
    const error: unknown = await kms.describe(keyId).catch((reason: unknown) => reason)
    t.match(error, { code: 'KeyAccessDenied', message: /describe-key/, cause: { message: /APIGW\.0301/ } })
    t.notMatch(inspect([error, kms], { depth: 20, showHidden: true }), /WRONG/)
    await kms.close?.()
  }
  const kms = open({ credentials: () => Promise.reject(Object.assign(new Error('SECRET'), { code: 'ENOENT' })) })
  const error: unknown = await kms.describe(keyId).catch((reason: unknown) => reason)
  t.match(error, { code: 'KmsUnavailable', message: /\(ENOENT\)/ })
  t.notMatch(inspect(error), /SECRET/)
  await kms.close?.()
})

t.test('keys: made once, listed in pages, disabled, deleted', async t => {
  const { kms, keyId, dew } = await start()
  const ten = await Promise.all(Array.from({ length: 10 }, () => kms.create?.('one')))
  t.equal(new Set(ten.map(key => key?.keyId)).size, 1, 'aliases are locks')
  for (let i = 0; i < 120; i++) await kms.create?.(`key-${i}`)
  dew.requests.length = 0
  t.equal((await kms.list?.())?.length, 123)
  t.strictSame(dew.requests, ['list-keys', 'list-keys'])
  t.strictSame(await kms.find?.('none'), [])
  t.match(await kms.find?.('one'), [{ name: 'one' }])
  await t.rejects(kms.describe('none'), { code: 'KeyNotFound' })
  await t.rejects(async () => kms.create?.('a b'), { code: 'InvalidKeyId' })
  t.equal((await kms.disable?.(keyId))?.state, 'disabled')
  await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KeyDisabled' })
  t.equal((await kms.enable?.(keyId))?.state, 'enabled')
  const deleting = await kms.scheduleDeletion?.(keyId, { days: 8 })
  t.match(deleting, { state: 'pending-deletion', deletion: Number })
  await t.rejects(kms.generateDataKey({ keyId, context }), { code: 'KeyPendingDeletion' })
  t.equal((await kms.cancelDeletion?.(keyId))?.state, 'disabled')
  await t.rejects(async () => kms.scheduleDeletion?.(keyId, { days: 6 }), RangeError)
  t.throws(
    () => huaweiKms({ instance: 'x', address: 'https://kms', project: 'a/b', credentials: { token: 'x' } }),
    RangeError,
  )
})

t.test('answers that cannot be right, and what fails how', async t => {
  const { kms, keyId, dew } = await start()
  const { key, wrapped } = await kms.generateDataKey({ keyId, context })
  key.dispose()
  const key_id = keyId.split('/')[1]
  const rows: readonly (readonly [number, unknown, object])[] = [
    [200, { data_key: '00'.repeat(32), datakey_dgst: '00'.repeat(32) }, { code: 'KmsUnavailable' }],
    [200, { data_key: '00'.repeat(16) }, { code: 'NotAuthentic' }],
    [200, 'no json', { code: 'KmsUnavailable' }],
    [400, { error: { error_code: 'KMS.2203' } }, { code: 'NotAuthentic' }],
    [400, { error: { error_code: 'KMS.0205' } }, { code: 'KeyNotFound' }],
    [404, '<html>', { code: 'KmsUnavailable' }],
    [403, { error: { error_code: 'KMS.0307' } }, { code: 'KeyAccessDenied' }],
    [503, '', { code: 'KmsUnavailable', retryAfter: 9 }],
    [429, '', { code: 'KmsThrottled', retryAfter: 9 }],
  ]
  for (const [status, body, expected] of rows) {
    dew.interposed = () => [status, body, { 'retry-after': '9' }]
    const error: unknown = await kms.unwrapDataKey({ wrapped, context }).catch((reason: unknown) => reason)
    t.match(error, expected, `${status} ${JSON.stringify(body).slice(0, 50)}`)
  }
  const other = { key_id: 'other', plain_text: '00'.repeat(32), cipher_text: '00' }
  for (const answer of [other, { ...other, key_id, plain_text: '00' }, { ...other, key_id, cipher_text: 'xx' }]) {
    dew.interposed = () => [200, answer]
    await t.rejects(
      kms.generateDataKey({ keyId, context }),
      { code: 'KmsUnavailable' },
      JSON.stringify(answer).slice(0, 30),
    )
  }
})

t.test('objects lie under outer keys, which bind the context; to local and back', async t => {
  const { kms, keyId } = await start()
  t.equal(kms.bindsContext, false)
  const sse = createSse({ kms, accept: [keyId] })
  const [arn, bucketContext] = [{ 'aws:s3:arn': 'arn:aws:s3:::photos/a' }, { 'aws:s3:arn': 'arn:aws:s3:::photos' }]
  for (const bucketKey of [false, true]) {
    const options = { context: arn, bucketContext, bucketKey }
    const writing = await sse.encrypt(options)
    const body = await put(writing, bodyOf(1000))
    const { envelope } = writing.result()
    t.equal(parseEnvelope(envelope).record.wrapped.wrapAlg, bucketKey ? 3 : 4)
    t.ok(equal(await get(await sse.decrypt(envelope, options), body), bodyOf(1000)))
    await t.rejects(sse.decrypt(envelope, { ...options, context: { 'aws:s3:arn': 'b' } }), { code: 'NotAuthentic' })
  }
  sse.dispose()
  const local = await LocalKms.open(t.testdir(), { root: { key: new Uint8Array(randomBytes(32)) } })
  const { keyId: localId } = await local.defaultKey({ region: 'r', domainId: 'd' })
  const key = new DataKey(new Uint8Array(randomBytes(32)))
  const there = await local.wrapDataKey(key, { keyId: localId, context })
  const moving = await local.unwrapDataKey({ wrapped: there, context })
  const back = await kms.unwrapDataKey({ wrapped: await kms.wrapDataKey(moving, { keyId, context }), context })
  t.ok(equal(back.bytes, key.bytes))
  for (const each of [key, moving, back]) each.dispose()
  await local.close()
})
