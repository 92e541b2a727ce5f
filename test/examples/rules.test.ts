/** The rules of the service as a custom server calls them: what the guide for servers and the reference show. */
import t from 'tap'
import { createSse, LocalKms } from '../../lib/index.ts'
import {
  assertAliasAllowed,
  assertContextAllowed,
  assertKeyEnabled,
  assertKeyOrigin,
  assertKeyRight,
  assertKeyScope,
  assertKeyUsable,
  assertKmsRole,
  assertOwnTenant,
  assertPartKeyFits,
  assertReadKeyFits,
  assertSelfCopyLegal,
  assertSigned,
  assertSingleProject,
  assertSomeKeyRight,
  authorizeRead,
  authorizeWrite,
  bucketEncryptionOrBase,
  createProfile,
  decide,
  formatBucketEncryption,
  type HeaderGetter,
  keyQuery,
  needsAliases,
  parseBucketEncryption,
  parseCopySourceHeaders,
  parseCustomerKey,
  parseKeyReference,
  parsePolicy,
  parseReadHeaders,
  parseWriteHeaders,
  planCopy,
  readKeyGrants,
  refuseOnOther,
  type Requester,
  requestValues,
  sseResponseHeaders,
  tenantAdmin,
} from '../../lib/rules.ts'

process.chdir(t.testdir())
// #region sse
// #region kms
const kms = await LocalKms.open('./keys', { root: { file: './root.key', create: true } })
// #endregion kms
const sse = createSse({ kms, accept: [] })
// #endregion sse
t.teardown(() => kms.close())

const from =
  (headers: Readonly<Record<string, string>>): HeaderGetter =>
  name =>
    headers[name]

// #region who
const profile = createProfile('obs', { region: 'sichuan' }) // or 's3'
const owner = { domainId: 'my-tenant', projectId: 'my-project' } // of the bucket
const caller = { ...owner, name: 'alice', roles: [tenantAdmin] }
const requester: Requester = { kind: 'signed', caller, signature: 'v4' } // once you have verified the signature
// #endregion who

t.test('a write', async t => {
  // #region write
  const headers = new Headers({ 'x-amz-server-side-encryption': 'aws:kms' })
  const header = (name: string) => headers.get(name) ?? undefined
  const request = parseWriteHeaders(header, { secure: true }) // the headers' own rules
  const decision = authorizeWrite({ profile, requester, owner, request }) // then role and tenant
  if (decision.kind !== 'sse-kms') throw new Error('this example handles SSE-KMS alone')

  const scope = { region: profile.region, domainId: owner.domainId }
  const { key: named } = decision
  const key = named === 'default' ? await kms.defaultKey(scope) : await kms.describeKey(keyQuery(named, scope))
  assertKeyUsable(profile, key, owner) // region, tenant, origin, state

  const system = { 'aws:s3:arn': 'arn:aws:s3:::photos/cat.jpg' }
  const context = new Map([...decision.context, ...Object.entries(system)])
  const put = await sse.encrypt({ accept: [key.keyId], context })
  const answer = sseResponseHeaders('put', { kind: 'sse-kms', keyId: put.keyId }, 's3')
  // #endregion write
  t.strictSame(answer, [
    ['x-amz-server-side-encryption', 'aws:kms'],
    ['x-amz-server-side-encryption-aws-kms-key-id', key.keyId],
  ])
  const ordinary: Requester = { kind: 'signed', caller: { ...caller, roles: [] }, signature: 'v4' }
  t.throws(() => authorizeWrite({ profile, requester: ordinary, owner, request }), { code: 'AccessDenied' })
})

t.test('a read', async t => {
  // #region read
  const headers = new Headers({ range: 'bytes=0-99' })
  const header = (name: string) => headers.get(name) ?? undefined
  refuseOnOther('get', header) // headers of SSE-KMS do not belong on a GET
  const sent = parseReadHeaders(header, { secure: true }) // a customer's key, to be wiped
  assertReadKeyFits('sse-kms', sent)
  authorizeRead({ profile, requester, owner }, 'sse-kms') // role and tenant

  const keys = await kms.listKeys({ region: profile.region, domainId: owner.domainId })
  const accept = keys.map(key => key.keyId) // from configuration and request, never from the store
  // #endregion read
  t.equal(accept.length, 1)
  const asked = from({ 'x-amz-server-side-encryption': 'aws:kms' })
  t.throws(() => refuseOnOther('get', asked), { code: 'InvalidArgument' })
  t.throws(() => authorizeRead({ profile, requester: { kind: 'anonymous' }, owner }, 'sse-kms'), {
    code: 'AccessDenied',
  })
})

t.test('parts and copies', async t => {
  // #region header
  const header = (_name: string) => undefined // the request's headers: here it has none
  // #endregion header
  // #region parts
  refuseOnOther('upload-part', header, { lenientParts: profile.lenientParts })
  assertPartKeyFits('sse-kms', parseCustomerKey(header, { secure: true })) // as Initiate had it
  // #endregion parts
  // #region copy
  const source = parseCopySourceHeaders(header, { secure: true }) // the customer's key of the source
  assertReadKeyFits('sse-kms', source)
  const plan = planCopy({ profile, source: 'sse-kms', target: 'sse-kms', sameTenant: true }) // 'rewrap'
  // #endregion copy
  t.equal(plan, 'rewrap')
  // #region self-copy
  const nothing = { replacesMetadata: false, namesStorageClass: false, namesEncryption: false }
  assertSelfCopyLegal({ ...nothing, namesEncryption: true, bucketHasEncryption: false }) // it changes something
  // #endregion self-copy
  t.throws(() => assertSelfCopyLegal({ ...nothing, bucketHasEncryption: false }), { code: 'InvalidRequest' })
  t.throws(() => assertPartKeyFits('sse-c', undefined), { code: 'InvalidRequest' })
})

t.test('rule by rule', async t => {
  // #region one-key
  const key = await kms.createKey({ region: 'sichuan', domainId: 'my-tenant' })
  // #endregion one-key
  // #region rules
  const reference = parseKeyReference(key.keyId) // an id, an ARN, OBS's short form or an alias
  assertContextAllowed(profile, undefined) // obs: a client gives no encryption context
  assertAliasAllowed(profile, reference) // obs: no aliases
  const signed = assertSigned(profile, requester) // who signed; s3: with version 4
  assertKmsRole(profile, signed) // obs: tenant_admin
  assertOwnTenant(signed, owner) // no ACL and no policy opens SSE-KMS to another tenant
  assertSingleProject(signed.projectId, owner)
  assertKeyScope(key, { region: profile.region, domainId: owner.domainId })
  assertKeyEnabled(key)
  // #endregion rules
  // #region origin
  const lenient = createProfile('obs', { region: 'sichuan', customerKeys: true })
  assertKeyOrigin(lenient, key) // obs without customerKeys refuses keys that customers made
  // #endregion origin
  t.throws(() => assertKeyOrigin(profile, key), { code: 'AccessDenied' })
  t.throws(() => assertOwnTenant(signed, { domainId: 'another', projectId: 'x' }), { code: 'AccessDenied' })
})

t.test('rights to keys', async t => {
  // #region grants
  const { keyId } = await kms.createKey({ region: 'sichuan', domainId: 'my-tenant', alias: 'photos' })
  const grants = readKeyGrants(
    [
      { domainId: 'my-tenant', roles: [tenantAdmin], rights: ['kms:GenerateDataKey', 'kms:Decrypt'] }, // all keys
      { domainId: 'my-tenant', users: ['AKBOB'], keys: ['alias/photos'], rights: ['kms:Decrypt'] },
    ],
    'sichuan',
  )
  const access = { profile, requester, owner, grants } // for authorizeWrite and authorizeRead, too
  assertSomeKeyRight(access, 'kms:GenerateDataKey') // before a default key is made

  const right = 'kms:Decrypt' // kms:GenerateDataKey for a write, both for a copy, kms:ReEncryptFrom and …To for a rewrap
  const aliases = needsAliases(access, right, { keyId }) ? (await kms.describeKey({ keyId })).aliases : []
  assertKeyRight(access, right, { keyId, aliases }) // before each use, also of a key in memory
  // #endregion grants
  const bob: Requester = { kind: 'signed', caller: { ...caller, accessKeyId: 'AKBOB', roles: [] }, signature: 'v4' }
  const his = { ...access, requester: bob }
  t.ok(needsAliases(his, right, { keyId }))
  t.doesNotThrow(() => assertKeyRight(his, right, { keyId, aliases: ['photos'] }))
  t.throws(() => assertKeyRight(his, 'kms:GenerateDataKey', { keyId, aliases: ['photos'] }), {
    code: 'KeyAccessDenied',
  })
})

t.test('the default encryption of a bucket', async t => {
  // #region bucket-encryption
  const form = { Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } } } // its XML, read
  const encryption = parseBucketEncryption(form)
  const answer = formatBucketEncryption(encryption, 's3') // the way back
  const request = parseWriteHeaders(() => undefined, { secure: true })
  const decision = authorizeWrite({ profile, requester, owner, request, bucketDefault: encryption })
  const shown = bucketEncryptionOrBase(encryption, profile.baseEncryption) // without either: 404
  // #endregion bucket-encryption
  t.equal(answer.Rule.ApplyServerSideEncryptionByDefault.SSEAlgorithm, 'aws:kms')
  t.equal(decision.kind, 'sse-kms')
  t.equal(shown, encryption)
  t.throws(() => bucketEncryptionOrBase(undefined, 'none'), { code: 'ServerSideEncryptionConfigurationNotFoundError' })
})

t.test('a bucket policy', async t => {
  // #region policy
  const header = (_name: string) => undefined // the request's headers: here it has none
  const text = JSON.stringify({
    Version: '2008-10-17',
    Id: 'PutObjPolicy',
    Statement: [
      {
        Sid: 'DenyUnEncryptedObjectUploads',
        Effect: 'Deny',
        Principal: '*',
        Action: 's3:PutObject',
        Resource: 'arn:aws:s3:::photos/*',
        Condition: { StringNotEquals: { 's3:x-amz-server-side-encryption': 'aws:kms' } },
      },
    ],
  })
  const policy = parsePolicy(text, { bucket: 'photos' }) // throws MalformedPolicy, with the place
  const decision = decide(policy, {
    principal: { domainId: caller.domainId, userName: caller.name, anonymous: false },
    action: 's3:PutObject',
    resource: 'arn:aws:s3:::photos/cat.jpg',
    values: requestValues({ header, secure: true, now: new Date() }),
  }) // 'deny', 'allow', or 'none': the policy says nothing
  // #endregion policy
  t.equal(decision, 'deny')
})
