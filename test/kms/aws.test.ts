/** The provider `aws-kms`: the real SDK against moto, and against a stub for what moto does not do as AWS does. */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { KMSClient } from '@aws-sdk/client-kms'
import t, { type Test } from 'tap'
import { base64 } from '../../lib/bytes.ts'
import { createSse, DataKey, encryptionContext } from '../../lib/index.ts'
import { awsKms } from '../../lib/kms/aws/aws.ts'
import { memoryKms, runConformance } from '../../lib/testing.ts'
import { noMoto, startMoto } from '../support/aws.ts'
import { type AwsAnswer, type AwsRequest, refusal, startAwsStub } from '../support/aws-stub.ts'

const id = '1234abcd-12ab-34cd-56ef-1234567890ab'
const keyId = `arn:aws:kms:eu-west-1:123456789012:key/${id}`
const otherKeyId = keyId.replace('1234abcd', 'ffffffff')
const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::bucket/key', ['__proto__']: 'x' })
const target = { keyId, context }
const plaintext = new Uint8Array(32).map((_, i) => i * 7)
const blob = Uint8Array.of(1, 2, 3)
const wrapped = { provider: 'aws-kms', keyId, wrapAlg: 1, blob } as const
const from = { wrapped, context }

/** What AWS answers where nothing is wrong. */
const right = ({ action, body }: AwsRequest): AwsAnswer => {
  const CiphertextBlob = base64(Uint8Array.of(4, 5, 6))
  const Plaintext = base64(plaintext)
  const { KeyId } = body
  if (action === 'GenerateDataKey') return [200, { KeyId, CiphertextBlob, Plaintext }]
  if (action === 'Encrypt') return [200, { KeyId, CiphertextBlob }]
  if (action === 'Decrypt') return [200, { KeyId, Plaintext }]
  if (action === 'ReEncrypt') {
    return [200, { KeyId: body['DestinationKeyId'], SourceKeyId: body['SourceKeyId'], CiphertextBlob }]
  }
  if (action === 'DescribeKey') return [200, { KeyMetadata: { KeyId: id, Arn: keyId, KeyState: 'Enabled' } }]
  return [200, {}]
}

const stubbed = async (t: Test, answer: (request: AwsRequest) => AwsAnswer | Promise<AwsAnswer> = right) => {
  const stub = await startAwsStub(answer)
  const kms = awsKms({ config: stub.config })
  t.teardown(() => {
    kms.close?.()
    stub.stop()
  })
  return { stub, kms }
}

const hasCode = (code: string) => ({ name: 'SseError', code })

t.test('conformance, with moto', { skip: noMoto }, async t => {
  const moto = await startMoto()
  const report = await runConformance(moto)
  t.strictSame(
    report.results.filter(({ outcome }) => outcome === 'failed'),
    [],
  )
  t.equal(report.results.filter(({ outcome }) => outcome === 'passed').length, 20)
})

t.test('objects, with moto', { skip: noMoto }, async t => {
  const moto = await startMoto()
  t.teardown(() => moto.stop())
  const local = memoryKms()
  const { keyId: localKey } = await local.create('local')
  const sse = createSse({ kms: moto.kms, accept: [moto.keyId] })
  const system = { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' }
  const bucket = { bucketKey: true, bucketContext: { 'aws:s3:arn': 'arn:aws:s3:::bucket' } }
  for (const options of [{ context: system }, { context: system, ...bucket }]) {
    const put = await sse.encrypt(options)
    const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
    const { envelope } = put.result()
    const get = await sse.decrypt(envelope, options)
    t.equal(String(await buffer(Readable.from([stored]).compose(get.stream))), 'Hello')
    const another = { ...options, context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/other' } }
    await t.rejects(sse.decrypt(envelope, another), hasCode('NotAuthentic'))
  }
  const given = encryptionContext(system)
  const made = await moto.kms.generateDataKey({ keyId: moto.keyId, context: given })
  for (const other of [encryptionContext(), encryptionContext({ 'aws:s3:arn': 'another' })]) {
    await t.rejects(moto.kms.unwrapDataKey({ wrapped: made.wrapped, context: other }), hasCode('NotAuthentic'))
  }
  for (let i = 36; i < made.wrapped.blob.length; i++) {
    const changed = made.wrapped.blob.map((byte, at) => (at === i ? byte ^ 1 : byte))
    const request = { wrapped: { ...made.wrapped, blob: changed }, context: given }
    await t.rejects(moto.kms.unwrapDataKey(request), hasCode('NotAuthentic'), `byte ${i}`)
  }
  const moved = await local.wrapDataKey(made.key, { keyId: localKey, context: given })
  const back = await local.unwrapDataKey({ wrapped: moved, context: given })
  const again = await moto.kms.wrapDataKey(back, { keyId: moto.otherKeyId, context: given })
  t.strictSame((await moto.kms.unwrapDataKey({ wrapped: again, context: given })).bytes, made.key.bytes)
  await moto.kill()
  await t.rejects(moto.kms.describe(moto.keyId), hasCode('KmsUnavailable'))
  await moto.start()
  await t.rejects(moto.kms.describe(moto.keyId), hasCode('KeyNotFound'), 'moto has forgotten it')
  t.match(await moto.kms.create?.('again'), { state: 'enabled', name: 'again' })
})

t.test('what is asked', async t => {
  const { stub, kms } = await stubbed(t)
  const entries = { ['__proto__']: 'x', 'aws:s3:arn': 'arn:aws:s3:::bucket/key' }
  const asked = async (work: Promise<unknown>, action: string, body: object) => {
    await work
    const request = stub.requests.at(-1)
    t.equal(request?.action, action)
    t.strictSame(JSON.stringify(sorted(request?.body)), JSON.stringify(sorted(body)))
    t.match(request?.headers['authorization'], /^AWS4-HMAC-SHA256 /)
  }
  const sorted = (value: object = {}): object => Object.fromEntries(Object.entries(value).sort())
  const made = await kms.generateDataKey(target)
  t.strictSame(made.key.bytes, plaintext)
  t.strictSame(made.wrapped, { ...wrapped, blob: Uint8Array.of(4, 5, 6) })
  const EncryptionContext = entries
  await asked(kms.generateDataKey(target), 'GenerateDataKey', { KeyId: keyId, NumberOfBytes: 32, EncryptionContext })
  const Plaintext = base64(plaintext)
  await asked(kms.wrapDataKey(made.key, target), 'Encrypt', { KeyId: keyId, Plaintext, EncryptionContext })
  const CiphertextBlob = base64(blob)
  await asked(kms.unwrapDataKey(from), 'Decrypt', { KeyId: keyId, CiphertextBlob, EncryptionContext })
  const none = { wrapped, context: encryptionContext() }
  await asked(kms.unwrapDataKey(none), 'Decrypt', { KeyId: keyId, CiphertextBlob })
  await asked(kms.rewrapDataKey({ from: none, to: { keyId: otherKeyId, context } }), 'ReEncrypt', {
    CiphertextBlob,
    SourceKeyId: keyId,
    DestinationKeyId: otherKeyId,
    DestinationEncryptionContext: entries,
  })
  await asked(kms.describe(keyId), 'DescribeKey', { KeyId: keyId })
  const tokens = ['one', 'two']
  const granted = awsKms({ config: stub.config, grantTokens: () => tokens })
  await asked(granted.unwrapDataKey(none), 'Decrypt', { KeyId: keyId, CiphertextBlob, GrantTokens: ['one', 'two'] })
  tokens.length = 0
  await asked(granted.unwrapDataKey(none), 'Decrypt', { KeyId: keyId, CiphertextBlob })
  const listed = awsKms({ config: stub.config, grantTokens: ['three'] })
  await asked(listed.describe(keyId), 'DescribeKey', { KeyId: keyId, GrantTokens: ['three'] })
})

t.test('errors, one try for each', async t => {
  const { stub, kms } = await stubbed(t)
  const table: readonly (readonly [answer: AwsAnswer, code: string, message?: RegExp])[] = [
    [refusal('NotFoundException'), 'KeyNotFound'],
    [refusal('InvalidArnException'), 'KeyNotFound'],
    [refusal('DisabledException'), 'KeyDisabled'],
    [refusal('KMSInvalidStateException', `${keyId} is pending deletion.`), 'KeyPendingDeletion'],
    [refusal('KMSInvalidStateException', `${keyId} is pending replica deletion.`), 'KeyPendingDeletion'],
    [refusal('KMSInvalidStateException', `${keyId} is disabled.`), 'KeyDisabled'],
    [refusal('KMSInvalidStateException', `${keyId} is pending import.`), 'KmsUnavailable', /in a state/],
    [refusal('AccessDeniedException', 'User is not authorized'), 'KeyAccessDenied', /kms:Decrypt/],
    [
      refusal('AccessDeniedException', 'The ciphertext refers to a customer master key that does not exist'),
      'NotAuthentic',
    ],
    [refusal('InvalidCiphertextException'), 'NotAuthentic'],
    [refusal('IncorrectKeyException'), 'NotAuthentic'],
    [refusal('InvalidKeyUsageException'), 'KeyNotFound', /symmetric/],
    [refusal('InvalidGrantTokenException'), 'KeyAccessDenied', /grant token/],
    [refusal('ThrottlingException'), 'KmsThrottled'],
    [refusal('LimitExceededException'), 'KmsUnavailable', /quota/],
    [refusal('ExpiredTokenException'), 'KmsUnavailable', /credentials/],
    [[500, { __type: 'KMSInternalException' }], 'KmsUnavailable'],
    [[500, { __type: 'KeyUnavailableException' }], 'KmsUnavailable'],
    [[503, { __type: 'DependencyTimeoutException' }], 'KmsUnavailable'],
    [[502, '<html>bad gateway</html>'], 'KmsUnavailable'],
  ]
  for (const [answer, code, message = /./] of table) {
    stub.answer = () => answer
    stub.requests.length = 0
    const shown = JSON.stringify(answer)
    await t.rejects(kms.unwrapDataKey(from), { ...hasCode(code), message }, shown)
    t.equal(stub.requests.length, 1, `one try: ${shown}`)
    await t.rejects(kms.describe(keyId), hasCode(code), shown)
  }
  stub.answer = () => [400, { __type: 'ThrottlingException' }, { 'retry-after': '7' }]
  await t.rejects(kms.generateDataKey(target), { code: 'KmsThrottled', retryAfter: 7 })
  stub.stop()
  await t.rejects(kms.generateDataKey(target), hasCode('KmsUnavailable'))
  const lost = awsKms({ config: { ...stub.config, credentials: () => Promise.reject(new Error('none')) } })
  await t.rejects(lost.generateDataKey(target), hasCode('KmsUnavailable'))
})

t.test('answers that cannot be right', async t => {
  const { stub, kms } = await stubbed(t)
  const changed = (change: object) => {
    stub.answer = request => [200, { ...Object(right(request)[1]), ...change }]
  }
  const refused = async (work: () => Promise<unknown>, what: string) =>
    t.rejects(work(), hasCode('KmsUnavailable'), what)
  const calls = {
    generate: () => kms.generateDataKey(target),
    wrap: () => kms.wrapDataKey(new DataKey(new Uint8Array(32)), target),
    unwrap: () => kms.unwrapDataKey(from),
    rewrap: () => kms.rewrapDataKey({ from, to: target }),
  }
  for (const KeyId of [otherKeyId, 'alias/first', id]) {
    changed({ KeyId })
    for (const [name, call] of Object.entries(calls)) await refused(call, `${name}: ${KeyId}`)
  }
  changed({ SourceKeyId: otherKeyId })
  await refused(calls.rewrap, 'another source')
  changed({ CiphertextBlob: undefined })
  for (const call of [calls.generate, calls.wrap, calls.rewrap]) await refused(call, 'no blob')
  for (const short of ['', base64(new Uint8Array(16))]) {
    changed({ Plaintext: short })
    for (const call of [calls.generate, calls.unwrap]) await refused(call, 'no key of 32 bytes')
  }
  changed({ KeyMetadata: { Arn: otherKeyId, KeyState: 'Enabled' } })
  await refused(() => kms.describe(keyId), 'another key')
  // What a parser says of broken JSON quotes it.
  stub.answer = () => [200, `{"Plaintext":"${base64(plaintext)}",`]
  const error: unknown = await kms.unwrapDataKey(from).catch((reason: unknown) => reason)
  t.match(error, hasCode('KmsUnavailable'))
  t.notMatch(inspect(error, { depth: 12, showHidden: true }), base64(plaintext).slice(0, 8))
})

t.test('ids', async t => {
  const { stub, kms } = await stubbed(t)
  for (const wrong of [id, 'alias/first', `${keyId} `, keyId.toUpperCase(), keyId.replace('west-1', 'west-2'), '']) {
    await t.rejects(kms.generateDataKey({ keyId: wrong, context }), hasCode('KeyNotFound'), wrong)
    await t.rejects(kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: wrong }, context }), hasCode('KeyNotFound'))
  }
  for (const other of [
    { provider: 'kmip' },
    { wrapAlg: 2 },
    { blob: new Uint8Array() },
    { blob: new Uint8Array(6145) },
  ]) {
    const record = { ...wrapped, ...other } as const
    await t.rejects(kms.unwrapDataKey({ wrapped: Object(record), context }), hasCode('NotAuthentic'))
  }
  await t.rejects(kms.describe('no such spelling'), hasCode('KeyNotFound'))
  t.equal(stub.requests.length, 0, 'without a call')
  t.match(await kms.describe('alias/obs/photos'), { keyId, state: 'enabled', name: 'photos' })
  t.match(await kms.describe(id), { keyId })
  // A multi-region key: its replica in this region has the same key material.
  const primary = 'arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab'
  const replica = primary.replace('us-east-1', 'eu-west-1')
  const made = await kms.generateDataKey({ keyId: primary, context })
  t.equal(made.wrapped.keyId, primary)
  t.equal(stub.requests.at(-1)?.body['KeyId'], replica)
  stub.answer = () => [200, { KeyMetadata: { Arn: replica, KeyState: 'Enabled' } }]
  t.match(await kms.describe(primary), { keyId: primary })
})

t.test('keys: states, making, deletion', async t => {
  const { stub, kms } = await stubbed(t)
  const metadata = (KeyState: string, Arn = keyId) => ({ KeyMetadata: { KeyId: id, Arn, KeyState, DeletionDate: 1e9 } })
  for (const [state, expected] of [
    ['Enabled', 'enabled'],
    ['Updating', 'enabled'],
    ['Disabled', 'disabled'],
    ['PendingImport', 'disabled'],
    ['PendingDeletion', 'pending-deletion'],
    ['PendingReplicaDeletion', 'pending-deletion'],
  ] as const) {
    stub.answer = () => [200, metadata(state)]
    t.match(await kms.describe(keyId), { state: expected, deletion: 1e12 })
  }
  const actions = async (work: Promise<unknown> | undefined) => {
    stub.requests.length = 0
    const answer = await Promise.resolve(work).catch((error: unknown) => error)
    return { answer, actions: stub.requests.map(({ action }) => action), bodies: stub.requests.map(({ body }) => body) }
  }
  t.match(await actions(kms.enable?.(keyId)), { actions: ['EnableKey', 'DescribeKey'] })
  t.match(await actions(kms.disable?.(keyId)), { actions: ['DisableKey', 'DescribeKey'] })
  t.match(await actions(kms.rotate?.(keyId)), { actions: ['RotateKeyOnDemand', 'DescribeKey'] })
  t.match(await actions(kms.cancelDeletion?.(keyId)), { actions: ['CancelKeyDeletion', 'DescribeKey'] })
  t.match(await actions(kms.scheduleDeletion?.(keyId, { days: 9 })), {
    actions: ['ScheduleKeyDeletion', 'DescribeKey'],
    bodies: [{ PendingWindowInDays: 9 }],
  })

  /** A create whose CreateAlias is answered with this; the alias then names the winner. */
  const create = (alias: AwsAnswer, winner: string) => {
    let looked = 0
    stub.answer = ({ action }) => {
      if (action === 'DescribeKey')
        return looked++ === 0 ? refusal('NotFoundException') : [200, metadata('Enabled', winner)]
      if (action === 'CreateKey') return [200, metadata('Enabled')]
      return action === 'CreateAlias' ? alias : [200, {}]
    }
    return actions(kms.create?.('new'))
  }
  const making = ['DescribeKey', 'CreateKey', 'CreateAlias']
  t.match(await create([200, {}], otherKeyId), {
    answer: { keyId, name: 'new' },
    actions: making,
    bodies: [{ KeyId: 'alias/obs/new' }, {}, { AliasName: 'alias/obs/new', TargetKeyId: keyId }],
  })
  const lost = await create(refusal('AlreadyExistsException'), otherKeyId)
  t.match(lost, { answer: { keyId: otherKeyId }, bodies: { 4: { KeyId: keyId, PendingWindowInDays: 7 } } })
  t.strictSame(lost.actions, [...making, 'DescribeKey', 'ScheduleKeyDeletion'], 'its own key goes')
  const own = await create(refusal('AlreadyExistsException'), keyId)
  t.strictSame(own.actions, [...making, 'DescribeKey'], 'the alias is its own after all')
  const denied = await create(refusal('AccessDeniedException'), keyId)
  t.match(denied, { answer: hasCode('KeyAccessDenied'), actions: [...making, 'ScheduleKeyDeletion'] })
  const unknown = await create([500, { __type: 'KMSInternalException' }], keyId)
  t.match(unknown.answer, hasCode('KmsUnavailable'))
  t.strictSame(unknown.actions, making, 'a key that others may use by now stays')
  const multi = awsKms({ config: stub.config, multiRegion: true })
  await actions(multi.create?.('new').catch(() => undefined))
  await t.rejects(
    Promise.resolve().then(() => kms.create?.('no name')),
    RangeError,
  )
})

t.test('a client that is handed in, and close', async t => {
  const { stub, kms } = await stubbed(t)
  const client = new KMSClient({ ...stub.config, maxAttempts: 1 })
  const given = awsKms({ client, instance: 'aws-2' })
  t.equal(given.instance, 'aws-2')
  ;(await given.unwrapDataKey(from)).dispose()
  given.close?.()
  await t.rejects(given.unwrapDataKey(from), TypeError)
  ;(await awsKms({ client }).unwrapDataKey(from)).dispose()
  client.destroy()
  kms.close?.()
  kms.close?.()
  await t.rejects(kms.unwrapDataKey(from), TypeError)
  t.throws(() => awsKms({ instance: 'A' }), RangeError)
  t.notMatch(inspect(given, { depth: 12, showHidden: true }), 'secret-access-key-of-the-tests')
})
