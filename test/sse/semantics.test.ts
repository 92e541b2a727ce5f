// Every row of the semantics' sections 1 (headers), 2 (errors) and 3 (copy) that headers and rules decide, each case named after its row,
// and the examples of the OBS page "SSE-KMS" word for word.
import t from 'tap'
import { createHash } from 'node:crypto'
import { SseError } from '../../lib/errors.ts'
import { authorizeRead, authorizeWrite, type WriteAccess } from '../../lib/sse/authorize.ts'
import { bucketEncryptionOrBase, parseBucketEncryption } from '../../lib/sse/bucket-encryption.ts'
import { assertSelfCopyLegal, planCopy, type CopyPlan } from '../../lib/sse/copy.ts'
import {
  assertPartKeyFits,
  assertReadKeyFits,
  parseCopySourceHeaders,
  parseCustomerKey,
  parseReadHeaders,
  partKeyMismatch,
} from '../../lib/sse/customer-key.ts'
import type { EncryptionKind, HeaderGetter } from '../../lib/sse/names.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { parseWriteHeaders, refuseOnOther, type OtherOperation } from '../../lib/sse/request.ts'
import { sseResponseHeaders, type AnsweredOperation, type ObjectEncryption } from '../../lib/sse/response.ts'
import { assertKeyUsable, type UsableKey } from '../../lib/sse/authorize.ts'
import type { Caller, Requester } from '../../lib/sse/profile.ts'

type Headers = Readonly<Record<string, string>>
const lower = (headers: Headers): Map<string, string> =>
  new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
const getter = (headers: Headers): HeaderGetter => {
  const map = lower(headers)
  return name => map.get(name)
}
const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64')

const domainId = 'domainiddomainiddomainiddoma0001'
const keyId = '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const arn = `arn:aws:kms:sichuan:${domainId}:key/${keyId}`
const objectArn = 'arn:aws:s3:::bucket/key'
const owner = { domainId, projectId: 'project1' }
const obs = createProfile('obs', { region: 'sichuan' })
const s3 = createProfile('s3', { region: 'sichuan' })
const caller = (more: Partial<Caller> = {}): Caller => ({ ...owner, name: 'ann', roles: ['tenant_admin'], ...more })
const by = (who: Caller = caller(), signature: 'v4' | 'v2' | 'obs' = 'v4'): Requester => ({
  kind: 'signed',
  caller: who,
  signature,
})
const anonymous: Requester = { kind: 'anonymous' }

// S3's and OBS's headers, short
const S = 'x-amz-server-side-encryption'
const K = 'x-amz-server-side-encryption-aws-kms-key-id'
const X = 'x-amz-server-side-encryption-context'
const B = 'x-amz-server-side-encryption-bucket-key-enabled'
const P = 'x-amz-sse-kms-key-project-id'
const OS = 'x-obs-server-side-encryption'
const OK = 'x-obs-server-side-encryption-kms-key-id'
const OP = 'x-obs-sse-kms-key-project-id'
const OD = 'x-obs-server-side-data-encryption'

const secret = Buffer.alloc(32, 7)
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('base64')
const customer = (more: Headers = {}, prefix = 'x-amz-', key: Uint8Array = secret): Headers => ({
  [`${prefix}server-side-encryption-customer-algorithm`]: 'AES256',
  [`${prefix}server-side-encryption-customer-key`]: base64(key),
  [`${prefix}server-side-encryption-customer-key-MD5`]: md5(key),
  ...more,
})
const without = (headers: Headers, suffix: string): Headers =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.endsWith(suffix)))

const caught = (run: () => unknown): SseError => {
  try {
    run()
  } catch (error) {
    if (error instanceof SseError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

type Refusal = readonly [
  row: string,
  run: () => unknown,
  status: number,
  s3Code: string,
  message: string,
  argument?: readonly [name: string, value: string],
]

const write = (headers: Headers, secure = true) => parseWriteHeaders(getter(headers), { secure, objectArn })
/** As a server does it: headers, then the rules. */
const put = (headers: Headers, access: Partial<WriteAccess> = {}) =>
  authorizeWrite({ profile: s3, requester: by(), owner, ...access, request: write(headers) })

const kms: Headers = { [S]: 'aws:kms' }
const unsupported = 'The encryption method specified is not supported'
const requires =
  'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms'
const incompatible =
  'Server Side Encryption with Customer provided key is incompatible with the encryption method specified'
const needsV4 = 'Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.'
const notMap =
  "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map"
const must = 'Requests specifying Server Side Encryption with Customer provided keys must'
const wrongKey = caught(() => {
  throw new SseError('WrongCustomerKey')
}).message
const stored =
  'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.'
const initiated =
  'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.'
const schema = 'The XML you provided was not well-formed or did not validate against our published schema'
const notHere = 'x-amz-server-side-encryption header is not supported for this operation.'
const notKms = 'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse'
const selfCopy =
  "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
const projects = 'KMS with multiple projects is not supported. Leave the project out, or use the one of the tenant.'

const key = (more: Partial<UsableKey> = {}): UsableKey => ({
  keyId: arn,
  state: 'enabled',
  origin: 'service',
  region: 'sichuan',
  domainId,
  ...more,
})
const rule = (apply: unknown, more: object = {}) => ({
  Rule: { ApplyServerSideEncryptionByDefault: apply, ...more },
})
const other = 'arn:aws:kms:sichuan:other:key/4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const context = (text: string): Headers => ({ ...kms, [X]: text })
const json = (value: unknown): string => base64(JSON.stringify(value))

const argument = 'InvalidArgument'
// prettier-ignore
const refusals: readonly Refusal[] = [
  ['unknown algorithm aes:kms', () => write({ [S]: 'aes:kms' }), 400, argument, unsupported, [S, 'aes:kms']],
  ['unknown algorithm AES128', () => write({ [S]: 'AES128' }), 400, argument, unsupported, [S, 'AES128']],
  ['unknown algorithm, empty', () => write({ [S]: '' }), 400, argument, unsupported, [S, '']],
  ['unknown algorithm, S3 value in OBS header', () => write({ [OS]: 'aws:kms' }), 400, argument, unsupported, [OS, 'aws:kms']],
  ['unknown algorithm, OBS value in S3 header', () => write({ [S]: 'kms' }), 400, argument, unsupported, [S, 'kms']],
  ['unknown algorithm, obs is a value of buckets', () => write({ [OS]: 'obs' }), 400, argument, unsupported, [OS, 'obs']],
  ['unknown data encryption', () => write({ [OS]: 'kms', [OD]: 'DES' }), 400, argument, unsupported, [OD, 'DES']],
  ['aws:kms:dsse', () => write({ [S]: 'aws:kms:dsse' }), 501, 'NotImplemented', "The value 'aws:kms:dsse' of x-amz-server-side-encryption is not implemented here. Use AES-256.", [S, 'aws:kms:dsse']],
  ['SM4', () => write({ [OS]: 'kms', [OD]: 'SM4' }), 501, 'NotImplemented', "The value 'SM4' of x-obs-server-side-data-encryption is not implemented here. Use AES-256.", [OD, 'SM4']],

  ['key id without aws:kms, absent', () => write({ [K]: keyId }), 400, argument, requires, [S, 'null']],
  ['key id without aws:kms, AES256', () => write({ [S]: 'AES256', [K]: keyId }), 400, argument, requires, [S, 'AES256']],
  ['context without aws:kms, absent', () => write({ [X]: json({ a: 'b' }) }), 400, argument, requires, [S, 'null']],
  ['context without aws:kms, AES256', () => write({ [S]: 'AES256', [X]: 'e30=' }), 400, argument, requires, [S, 'AES256']],
  ['bucket key without aws:kms, absent', () => write({ [B]: 'true' }), 400, argument, requires, [S, 'null']],
  ['bucket key without aws:kms, AES256', () => write({ [S]: 'AES256', [B]: 'true' }), 400, argument, requires, [S, 'AES256']],
  ['project without aws:kms', () => write({ [P]: 'project1' }), 400, argument, requires, [S, 'null']],
  ['key id without kms, OBS', () => write({ [OK]: keyId }), 400, argument, 'Server Side Encryption with KMS managed key requires HTTP header x-obs-server-side-encryption : kms', [OS, 'null']],
  ['data encryption alone, OBS', () => write({ [OD]: 'AES256' }), 400, argument, 'Server Side Encryption with KMS managed key requires HTTP header x-obs-server-side-encryption : kms', [OS, 'null']],
  ['key id, empty', () => write({ ...kms, [K]: '' }), 400, argument, `${K} is empty. Give it a value or leave it out.`, [K, '']],
  ['bucket key, neither true nor false', () => write({ ...kms, [B]: 'yes' }), 400, argument, `${B} must be true or false.`, [B, 'yes']],
  ['bucket key, empty', () => write({ ...kms, [B]: '' }), 400, argument, `${B} must be true or false.`, [B, '']],
  ['two dialects at once', () => write({ ...kms, [OK]: keyId }), 400, argument, 'Send x-amz or x-obs headers of encryption, not both.', [OK, keyId]],

  ...(['get', 'head', 'list', 'upload-part', 'upload-part-copy', 'complete'] as const).flatMap((operation): Refusal[] => [
    [`header where it does not belong: ${operation}, KMS`, () => refuseOnOther(operation, getter(kms)), 400, argument, notHere, [S, 'aws:kms']],
    [`header where it does not belong: ${operation}, SSE-S3`, () => refuseOnOther(operation, getter({ [S]: 'AES256' })), 400, argument, notHere, [S, 'AES256']],
    [`header where it does not belong: ${operation}, key id`, () => refuseOnOther(operation, getter({ [K]: keyId })), 400, argument, notHere, [K, keyId]],
    [`header where it does not belong: ${operation}, OBS`, () => refuseOnOther(operation, getter({ [OS]: 'kms' })), 400, argument, 'x-obs-server-side-encryption header is not supported for this operation.', [OS, 'kms']],
  ]),
  ...(['get', 'head', 'list'] as const).map((operation): Refusal => [`lenientParts is for parts alone: ${operation}`, () => refuseOnOther(operation, getter(kms), { lenientParts: true }), 400, argument, notHere, [S, 'aws:kms']]),

  ['SSE-C together with KMS', () => write(customer(kms)), 400, argument, incompatible, [S, 'aws:kms']],
  ['SSE-C together with SSE-S3', () => write(customer({ [S]: 'AES256' })), 400, argument, incompatible, [S, 'AES256']],
  ['SSE-C together with a key id', () => write(customer({ [K]: keyId })), 400, argument, incompatible, [K, keyId]],
  ['SSE-C together with KMS, OBS', () => write(customer({ [OS]: 'kms' }, 'x-obs-')), 400, argument, incompatible, [OS, 'kms']],
  ['SSE-C together with KMS, each in its dialect', () => write(customer(kms, 'x-obs-')), 400, argument, incompatible, [S, 'aws:kms']],

  ['context that is not base64', () => write(context('{}')), 400, argument, notMap],
  ['context that is empty', () => write(context('')), 400, argument, notMap],
  ['context that is not JSON', () => write(context(base64('{'))), 400, argument, notMap],
  ['context that is not UTF-8', () => write(context(base64(Uint8Array.of(34, 0xff, 34)))), 400, argument, notMap],
  ['context that is no map: null', () => write(context(json(null))), 400, argument, notMap],
  ['context that is no map: list', () => write(context(json(['a']))), 400, argument, notMap],
  ['context that is no map: string', () => write(context(json('a'))), 400, argument, notMap],
  ['context that is no string map', () => write(context(json({ a: 1 }))), 400, argument, notMap],
  ['context that sets aws:s3:arn to another value', () => write(context(json({ 'aws:s3:arn': 'x' }))), 400, argument, 'The encryption context names aws:s3:arn, which is reserved. Leave it out.'],
  ['context that sets aws:s3:arn where there is none', () => parseWriteHeaders(getter(context(json({ 'aws:s3:arn': objectArn }))), { secure: true }), 400, argument, 'The encryption context names aws:s3:arn, which is reserved. Leave it out.'],
  ['context, obs: refused', () => put(context(json({ a: 'b' })), { profile: obs }), 400, argument, 'An encryption context is not supported here. Leave the header out.'],

  ['malformed key id', () => write({ ...kms, [K]: 'fake-key-id' }), 400, 'KMS.NotFoundException', "Invalid keyId 'fake-key-id'"],
  ['malformed key id, the default of a bucket', () => put({}, { bucketDefault: { kind: 'sse-kms', keyId: 'aws/s3', bucketKey: false } }), 400, 'KMS.NotFoundException', "Invalid keyId 'aws/s3'"],
  ['malformed key id, obs: an alias', () => put({ ...kms, [K]: 'alias/mine' }, { profile: obs }), 400, 'KMS.NotFoundException', "Invalid keyId 'alias/mine'"],
  ['ARN of another region', () => put({ ...kms, [K]: arn.replace('sichuan', 'us-west-2') }), 400, 'KMS.NotFoundException', 'Invalid arn us-west-2'],
  ['ARN of another region, obs', () => put({ ...kms, [K]: arn.replace('sichuan', 'us-west-2') }, { profile: obs }), 400, 'KMS.NotFoundException', 'Invalid arn us-west-2'],
  ['key of another region, as the KMS describes it', () => assertKeyUsable(s3, key({ region: 'us-west-2' }), owner), 400, 'KMS.NotFoundException', 'Invalid arn us-west-2'],
  ['key disabled', () => assertKeyUsable(s3, key({ state: 'disabled' }), owner), 400, 'KMS.DisabledException', `${arn} is disabled.`],
  ['key pending deletion', () => assertKeyUsable(obs, key({ state: 'pending-deletion' }), owner), 400, 'KMS.KMSInvalidStateException', `${arn} is pending deletion.`],
  ['key of another tenant', () => put({ ...kms, [K]: other }), 403, 'AccessDenied', 'The key is not one that this caller may use. Name a key of your own tenant and region.'],
  ['key of another tenant, obs', () => put({ ...kms, [K]: other }, { profile: obs }), 403, 'AccessDenied', 'The key is not one that this caller may use. Name a key of your own tenant and region.'],
  ['key of another tenant, whatever its state', () => assertKeyUsable(s3, key({ domainId: 'other', state: 'disabled' }), owner), 403, 'AccessDenied', 'The key is not one that this caller may use. Name a key of your own tenant and region.'],
  ['key created by a customer, obs', () => assertKeyUsable(obs, key({ origin: 'customer' }), owner), 403, 'AccessDenied', 'SSE-KMS here uses the default master key. Leave the key id out, or name the default key.'],
  ['caller lacks the role, obs', () => put(kms, { profile: obs, requester: by(caller({ roles: ['reader'] })) }), 403, 'AccessDenied', 'Only users with the tenant_admin role can use SSE-KMS. Ask an administrator of the tenant for it.'],
  ['caller lacks the role, obs, the bucket asks for KMS', () => put({}, { profile: obs, requester: by(caller({ roles: [] })), bucketDefault: { kind: 'sse-kms', bucketKey: false } }), 403, 'AccessDenied', 'Only users with the tenant_admin role can use SSE-KMS. Ask an administrator of the tenant for it.'],
  ['caller lacks the role, obs, on a read', () => authorizeRead({ profile: obs, requester: by(caller({ roles: [] })), owner }, 'sse-kms'), 403, 'AccessDenied', 'Only users with the tenant_admin role can use SSE-KMS. Ask an administrator of the tenant for it.'],
  ['key of another project, obs', () => put({ ...kms, [P]: 'project2' }, { profile: obs }), 400, argument, projects],
  ['key of another project, s3', () => put({ ...kms, [P]: 'project2' }), 400, argument, projects],
  ['key of another project, OBS header', () => put({ [OS]: 'kms', [OP]: 'project2' }, { profile: obs }), 400, argument, projects],
  ['key of another project, the default of a bucket', () => put({}, { bucketDefault: { kind: 'sse-kms', bucketKey: false, projectId: 'project2' } }), 400, argument, projects],
  ['several projects', () => write({ [OS]: 'kms', [OP]: 'project1,project2' }), 400, argument, `${OP} must be one project id; several projects are not supported.`, [OP, 'project1,project2']],
  ['several projects, empty', () => write({ ...kms, [P]: '' }), 400, argument, `${P} is empty. Give it a value or leave it out.`, [P, '']],
  ['several projects, a caller of another', () => put(kms, { requester: by(caller({ projectId: 'project2' })) }), 400, argument, projects],
  ['unsigned request for a KMS object, s3', () => put(kms, { requester: anonymous }), 400, argument, needsV4, ['Authorization', 'null']],
  ['signature V2 for a KMS object, s3', () => put(kms, { requester: by(caller(), 'v2') }), 400, argument, needsV4, ['Authorization', 'null']],
  ['unsigned read of a KMS object, s3', () => authorizeRead({ profile: s3, requester: anonymous, owner }, 'sse-kms'), 400, argument, needsV4, ['Authorization', 'null']],
  ['anonymous request for a KMS object, obs', () => put(kms, { profile: obs, requester: anonymous }), 403, 'AccessDenied', 'SSE-KMS is not for anonymous requests. Sign the request.'],
  ...[obs, s3].flatMap((profile): Refusal[] => [
    [`no cross-tenant access, whatever ACL or policy say: write, ${profile.name}`, () => put(kms, { profile, requester: by(caller({ domainId: 'other' })) }), 403, 'AccessDenied', 'Objects encrypted with SSE-KMS are for the tenant that owns the bucket, whatever its ACL or policy says.'],
    [`no cross-tenant access, whatever ACL or policy say: read, ${profile.name}`, () => authorizeRead({ profile, requester: by(caller({ domainId: 'other' })), owner }, 'sse-kms'), 403, 'AccessDenied', 'Objects encrypted with SSE-KMS are for the tenant that owns the bucket, whatever its ACL or policy says.'],
  ]),

  ['SSE-C: algorithm other than AES256', () => write(customer({ 'x-amz-server-side-encryption-customer-algorithm': 'AES128' })), 400, 'InvalidEncryptionAlgorithmError', 'The Encryption request you specified is not valid. Supported value: AES256.', [S, 'AES128']],
  ['SSE-C: algorithm other than AES256, on a read', () => parseReadHeaders(getter(customer({ 'x-amz-server-side-encryption-customer-algorithm': '' })), { secure: true }), 400, 'InvalidEncryptionAlgorithmError', 'The Encryption request you specified is not valid. Supported value: AES256.', [S, '']],
  ['SSE-C: no algorithm', () => write(without(customer(), 'algorithm')), 400, argument, `${must} provide a valid encryption algorithm.`, [S, 'null']],
  ['SSE-C: no algorithm, OBS', () => write(without(customer({}, 'x-obs-'), 'algorithm')), 400, argument, `${must} provide a valid encryption algorithm.`, [OS, 'null']],
  ['SSE-C: no key', () => write(without(customer(), 'key')), 400, argument, `${must} provide an appropriate secret key.`, [S, 'null']],
  ['SSE-C: no key, on a read', () => parseReadHeaders(getter(without(customer(), 'key')), { secure: true }), 400, argument, `${must} provide an appropriate secret key.`, [S, 'null']],
  ['SSE-C: empty key', () => write(customer({ 'x-amz-server-side-encryption-customer-key': '' })), 400, argument, `${must} provide an appropriate secret key.`, [S, 'null']],
  ['SSE-C: no MD5 on a write', () => write(without(customer(), 'MD5')), 400, argument, `${must} provide the client calculated MD5 of the secret key.`, [S, 'null']],
  ['SSE-C: wrong key length', () => write(customer({}, 'x-amz-', Buffer.alloc(10))), 400, argument, 'The secret key was invalid for the specified algorithm.', [S, 'null']],
  ['SSE-C: key that is not base64', () => write(customer({ 'x-amz-server-side-encryption-customer-key': '***' })), 400, argument, 'The secret key was invalid for the specified algorithm.', [S, 'null']],
  ['SSE-C: MD5 that does not match', () => write(customer({ 'x-amz-server-side-encryption-customer-key-MD5': md5(Buffer.alloc(32)) })), 400, argument, 'The calculated MD5 hash of the key did not match the hash that was provided.', [S, 'null']],
  ['SSE-C: MD5 that is not base64', () => write(customer({ 'x-amz-server-side-encryption-customer-key-MD5': '***' })), 400, argument, 'The calculated MD5 hash of the key did not match the hash that was provided.', [S, 'null']],
  ['SSE-C: MD5 that does not match, on a read', () => parseReadHeaders(getter(customer({ 'x-amz-server-side-encryption-customer-key-MD5': 'AAAA' })), { secure: true }), 400, argument, 'The calculated MD5 hash of the key did not match the hash that was provided.', [S, 'null']],
  ['SSE-C: two dialects at once', () => write({ ...customer(), ...customer({}, 'x-obs-') }), 400, argument, 'Send the customer key in x-amz or in x-obs headers, not in both.', ['x-obs-server-side-encryption-customer-algorithm', 'AES256']],
  ['SSE-C: object needs a key', () => assertReadKeyFits('sse-c', undefined), 400, 'InvalidRequest', stored],
  ['SSE-C: object is given one it does not need', () => assertReadKeyFits('sse-s3', parseReadHeaders(getter(customer()), { secure: true })), 400, 'InvalidRequest', stored],
  ['SSE-C: no MD5 on a read', () => parseReadHeaders(getter(without(customer(), 'MD5')), { secure: true }), 403, 'AccessDenied', wrongKey],
  ['SSE-C: wrong key on a read, by its length', () => parseReadHeaders(getter(customer({}, 'x-amz-', Buffer.alloc(44))), { secure: true }), 403, 'AccessDenied', wrongKey],
  ['SSE-C: wrong key of a copy source, by its length', () => parseCopySourceHeaders(getter(customer({}, 'x-amz-copy-source-', Buffer.alloc(44))), { secure: true }), 403, 'AccessDenied', wrongKey],
  ['SSE-C on a part of an upload without it', () => assertPartKeyFits('sse-kms', parseCustomerKey(getter(customer()), { secure: true })), 400, 'InvalidRequest', initiated],
  ['SSE-C missing on a part of an upload with it', () => assertPartKeyFits('sse-c', undefined), 400, 'InvalidRequest', initiated],
  ["SSE-C: another key than the upload's", () => { throw partKeyMismatch() }, 400, 'InvalidRequest', 'The provided encryption parameters did not match the ones used originally.'],
  ['SSE-C over plain HTTP', () => write(customer(), false), 400, 'InvalidRequest', `${must} be made over a secure connection.`],
  ['SSE-C over plain HTTP, read', () => parseReadHeaders(getter(customer()), { secure: false }), 400, 'InvalidRequest', `${must} be made over a secure connection.`],
  ['SSE-C over plain HTTP, source of a copy', () => parseCopySourceHeaders(getter(customer({}, 'x-obs-copy-source-')), { secure: false }), 400, 'InvalidRequest', `${must} be made over a secure connection.`],

  ['bucket encryption asked for where there is none', () => bucketEncryptionOrBase(undefined, obs.baseEncryption), 404, 'ServerSideEncryptionConfigurationNotFoundError', 'The server side encryption configuration was not found. Put one first.'],
  ['bucket encryption put with no rule', () => parseBucketEncryption({}), 400, 'MalformedXML', schema],
  ['bucket encryption put with no rule, empty list', () => parseBucketEncryption({ Rule: [] }), 400, 'MalformedXML', schema],
  ['bucket encryption put with two', () => parseBucketEncryption({ Rule: [rule({ SSEAlgorithm: 'AES256' }).Rule, rule({ SSEAlgorithm: 'AES256' }).Rule] }), 400, 'MalformedXML', schema],
  ['bucket encryption put with an unknown algorithm', () => parseBucketEncryption(rule({ SSEAlgorithm: 'AES128' })), 400, 'MalformedXML', schema],
  ['bucket encryption put with no algorithm', () => parseBucketEncryption(rule({})), 400, 'MalformedXML', schema],
  ['bucket encryption put with an unknown element', () => parseBucketEncryption(rule({ SSEAlgorithm: 'AES256', Other: '1' })), 400, 'MalformedXML', schema],
  ['bucket encryption put with an empty key id', () => parseBucketEncryption(rule({ SSEAlgorithm: 'aws:kms', KMSMasterKeyID: '' })), 400, 'MalformedXML', schema],
  ['bucket encryption put with a bucket key that is no boolean', () => parseBucketEncryption(rule({ SSEAlgorithm: 'aws:kms' }, { BucketKeyEnabled: 'yes' })), 400, 'MalformedXML', schema],
  ['bucket encryption put with a key id and AES256', () => parseBucketEncryption(rule({ SSEAlgorithm: 'AES256', KMSMasterKeyID: keyId })), 400, argument, notKms],
  ['bucket encryption put with a project and AES256', () => parseBucketEncryption(rule({ SSEAlgorithm: 'obs', ProjectID: 'project1' })), 400, argument, notKms.replace('KMSMasterKeyID', 'ProjectID')],
  ['bucket encryption put with aws:kms:dsse', () => parseBucketEncryption(rule({ SSEAlgorithm: 'aws:kms:dsse' })), 501, 'NotImplemented', 'aws:kms:dsse is not implemented here. Use aws:kms.', ['SSEAlgorithm', 'aws:kms:dsse']],

  ['self-copy that changes nothing', () => assertSelfCopyLegal({ replacesMetadata: false, namesStorageClass: false, namesEncryption: false, bucketHasEncryption: false }), 400, 'InvalidRequest', selfCopy],
  ['copy across tenants, obs', () => planCopy({ profile: obs, source: 'sse-kms', target: 'plain', sameTenant: false }), 403, 'AccessDenied', 'Encrypted objects are not copied between tenants. Read the object and put it anew.']]

t.test('section 2: what is refused, with status, code, message and argument', async t => {
  for (const [row, run, status, s3Code, message, argument] of refusals) {
    const error = caught(run)
    t.strictSame([error.status, error.s3Code, error.message], [status, s3Code, message], row)
    if (argument)
      t.strictSame(error.details, { ArgumentName: argument[0], ArgumentValue: argument[1] }, `${row}: argument`)
  }
})

t.test('section 1: what the headers ask for', async t => {
  const reference = { kind: 'key', id: keyId, scope: { region: 'sichuan', domainId } } as const
  t.strictSame(write({}), { kind: 'none' }, 'nothing')
  t.strictSame(write({ 'content-type': 'a/b' }), { kind: 'none' }, 'nothing of ours')
  t.strictSame(write(kms), { kind: 'sse-kms', dialect: 's3' }, 'aws:kms, default key')
  t.strictSame(write({ [OS]: 'kms' }), { kind: 'sse-kms', dialect: 'obs' }, 'kms, default key')
  t.strictSame(write({ [S]: 'AES256' }), { kind: 'sse-s3', dialect: 's3' }, 'AES256')
  t.strictSame(write({ [OS]: 'AES256' }), { kind: 'sse-s3', dialect: 'obs' }, 'AES256, OBS')
  t.strictSame(write({ [OS]: 'AES256', [OD]: 'AES256' }), { kind: 'sse-s3', dialect: 'obs' }, 'both say AES256')
  t.strictSame(
    write({ ...kms, [K]: arn, [B]: 'false', [P]: 'project1', [X]: json({ a: 'b', __proto__x: 'é' }) }),
    {
      kind: 'sse-kms',
      dialect: 's3',
      keyId: reference,
      bucketKey: false,
      projectId: 'project1',
      context: new Map([
        ['a', 'b'],
        ['__proto__x', 'é'],
      ]),
    },
    'everything at once',
  )
  t.strictSame(
    write({ [OS]: 'kms', [OK]: `sichuan:${domainId}:key/${keyId}`, [OP]: 'project1', [OD]: 'AES256' }),
    { kind: 'sse-kms', dialect: 'obs', keyId: reference, projectId: 'project1' },
    'everything at once, OBS',
  )
  const mixed = write({ ...kms, [X]: json({ 'aws:s3:arn': objectArn, a: 'b' }), [B]: 'true', [K]: keyId })
  const own = { kind: 'sse-kms', dialect: 's3' }
  t.strictSame(
    mixed,
    { ...own, context: new Map([['a', 'b']]), bucketKey: true, keyId: { kind: 'key', id: keyId } },
    'own ARN dropped',
  )
  t.strictSame(
    write(context(base64('{"__proto__":"x"}'))),
    { ...own, context: new Map([['__proto__', 'x']]) },
    'names are only names',
  )
  t.strictSame(write({ ...kms, [K]: 'alias/my/key' }), { ...own, keyId: { kind: 'alias', name: 'my/key' } }, 'alias')
  for (const prefix of ['x-amz-', 'x-obs-'] as const) {
    const dialect = prefix === 'x-amz-' ? 's3' : 'obs'
    const wanted = { kind: 'sse-c', dialect, key: new Uint8Array(secret), keyMd5: md5(secret) }
    t.strictSame(write(customer({}, prefix)), wanted, `SSE-C on a write, ${dialect}`)
    t.strictSame(
      parseReadHeaders(getter(customer({}, prefix)), { secure: true }),
      wanted,
      `SSE-C on a read, ${dialect}`,
    )
    const source = customer({}, `${prefix}copy-source-`)
    t.strictSame(parseCopySourceHeaders(getter(source), { secure: true }), wanted, `SSE-C of a source, ${dialect}`)
    t.strictSame(write(source, false), { kind: 'none' }, "a source's key says nothing of the target")
  }
  t.equal(parseReadHeaders(getter({}), { secure: false }), undefined, 'no customer key')

  for (const operation of ['upload-part', 'upload-part-copy', 'complete'] as const)
    t.doesNotThrow(() => refuseOnOther(operation, getter(kms), { lenientParts: true }), `lenientParts: ${operation}`)
  for (const operation of ['get', 'head', 'list', 'complete'] satisfies OtherOperation[])
    t.doesNotThrow(() => refuseOnOther(operation, getter(customer())), `SSE-C belongs, or does no harm: ${operation}`)
  for (const kind of ['plain', 'sse-s3', 'sse-kms', 'sse-c'] satisfies EncryptionKind[]) {
    const request = kind === 'sse-c' ? parseReadHeaders(getter(customer()), { secure: true }) : undefined
    t.doesNotThrow(() => assertReadKeyFits(kind, request), `read of ${kind}`)
    t.doesNotThrow(() => assertPartKeyFits(kind, request), `part of ${kind}`)
  }
})

t.test('the OBS page, word for word', async t => {
  const header = (line: string): Headers => {
    const at = line.indexOf(':')
    return { [line.slice(0, at)]: line.slice(at + 1) }
  }
  const mode = header('x-amz-server-side-encryption:aws:kms')
  const named = header(
    'x-amz-server-side-encryption-aws-kms-key-id:arn:aws:kms:sichuan:domainiddomainiddomainiddoma0001:key/4f1cd4de-ab64-4807-920a-47fc42e7f0d0',
  )
  t.strictSame(
    put(mode, { profile: obs }),
    { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false },
    'If the customer does not provide the master key, the default master key will be used.',
  )
  t.strictSame(
    put({ ...mode, ...named }, { profile: obs }),
    {
      kind: 'sse-kms',
      key: { kind: 'key', id: keyId, scope: { region: 'sichuan', domainId } },
      context: new Map(),
      bucketKey: false,
    },
    'Indicates the master key ID of an encrypted object.',
  )
  t.doesNotThrow(() => assertKeyUsable(obs, key(), owner), 'the default CMK')
  t.throws(
    () => assertKeyUsable(obs, key({ origin: 'customer' }), owner),
    { code: 'AccessDenied' },
    'keys created by customers',
  )
  t.throws(() => put(named, { profile: obs }), { message: requires }, 'This header is used in SSE-KMS mode.')
})

t.test('who may, in which order', async t => {
  const kmsDefault = { kind: 'sse-kms', keyId, bucketKey: true } as const
  const bare = { kind: 'key', id: keyId } as const
  // prettier-ignore
  const cases: readonly (readonly [string, unknown, unknown])[] = [
    ['obs: nothing is encrypted by itself', put({}, { profile: obs }), { kind: 'plain' }],
    ['s3: the base is SSE-S3', put({}), { kind: 'sse-s3' }],
    ['baseEncryption: none', put({}, { profile: createProfile('s3', { region: 'r', baseEncryption: 'none' }) }), { kind: 'plain' }],
    ['obs: the base may be SSE-S3', put({}, { profile: createProfile('obs', { region: 'r', baseEncryption: 'sse-s3' }) }), { kind: 'sse-s3' }],
    ["the bucket's SSE-S3", put({}, { profile: obs, requester: anonymous, bucketDefault: { kind: 'sse-s3', bucketKey: true } }), { kind: 'sse-s3' }],
    ["the bucket's SSE-KMS", put({}, { bucketDefault: kmsDefault }), { kind: 'sse-kms', key: bare, context: new Map(), bucketKey: true }],
    ["the bucket's SSE-KMS, its default key and project", put({}, { profile: obs, bucketDefault: { kind: 'sse-kms', bucketKey: false, projectId: 'project1' } }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['a request beats the bucket', put({ [S]: 'AES256' }, { bucketDefault: kmsDefault }), { kind: 'sse-s3' }],
    ["aws:kms without a key id is the default key, with the bucket's bucket key", put(kms, { bucketDefault: kmsDefault }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: true }],
    ["the request's bucket key beats the bucket's", put({ ...kms, [B]: 'false' }, { bucketDefault: kmsDefault }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['a bucket key of an SSE-S3 bucket does not count', put(kms, { bucketDefault: { kind: 'sse-s3', bucketKey: true } }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['s3: nobody needs a role', put(kms, { requester: by(caller({ roles: [] })) }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['s3: context', put(context(json({ a: 'b' }))), { kind: 'sse-kms', key: 'default', context: new Map([['a', 'b']]), bucketKey: false }],
    ['s3: alias', put({ ...kms, [K]: 'alias/a' }), { kind: 'sse-kms', key: { kind: 'alias', name: 'a' }, context: new Map(), bucketKey: false }],
    ['obs: signature V2', put(kms, { profile: obs, requester: by(caller(), 'v2') }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['obs: its own signature, its own project', put({ [OS]: 'kms', [OP]: 'project1' }, { profile: obs, requester: by(caller(), 'obs') }), { kind: 'sse-kms', key: 'default', context: new Map(), bucketKey: false }],
    ['SSE-C takes no role', put(customer(), { profile: obs, requester: anonymous }), write(customer())],
  ]
  for (const [name, found, wanted] of cases) t.strictSame(found, wanted, name)

  const stranger = by(caller({ domainId: 'other', roles: [], projectId: 'p' }), 'v2')
  const order = [
    [{ ...context(json({ a: 'b' })), [P]: 'project2', [K]: other }, stranger, argument],
    [{ ...kms, [P]: 'project2', [K]: other }, stranger, 'tenant_admin'],
    [{ ...kms, [P]: 'project2', [K]: other }, by(caller({ domainId: 'other' })), 'tenant that owns'],
    [{ ...kms, [P]: 'project2', [K]: other }, by(), 'multiple projects'],
    [{ ...kms, [K]: other }, by(), 'Name a key of your own'],
  ] as const
  for (const [headers, requester, part] of order) {
    const error = caught(() => put(headers, { profile: obs, requester }))
    t.match(`${error.s3Code} ${error.message}`, part, `headers, then role and tenant, then key: ${part}`)
  }

  for (const kind of ['plain', 'sse-s3', 'sse-c'] as const)
    t.doesNotThrow(
      () => authorizeRead({ profile: obs, requester: anonymous, owner }, kind),
      `anonymous read of ${kind}`,
    )
  t.doesNotThrow(
    () => authorizeRead({ profile: obs, requester: by(caller(), 'obs'), owner }, 'sse-kms'),
    'tenant_admin',
  )
  t.doesNotThrow(() => authorizeRead({ profile: s3, requester: by(caller({ roles: [] })), owner }, 'sse-kms'), 's3')

  const custom = createProfile('obs', { region: 'sichuan', customerKeys: true, lenientParts: true })
  t.match(custom, { customerKeys: true, lenientParts: true, kmsRole: 'tenant_admin', name: 'obs' })
  t.doesNotThrow(() => assertKeyUsable(custom, key({ origin: 'customer' }), owner), 'obs with customerKeys')
  t.doesNotThrow(() => assertKeyUsable(s3, key({ origin: 'customer' }), owner), "s3: a customer's key")
  t.doesNotThrow(
    () => assertKeyUsable(s3, { keyId: 'vault:transit/k', state: 'enabled', origin: 'customer' }, owner),
    'a provider without tenants',
  )
})

t.test('section 3: copy', async t => {
  const table: Readonly<Record<EncryptionKind, Readonly<Record<EncryptionKind, CopyPlan>>>> = {
    plain: { plain: 'copy', 'sse-s3': 'encrypt', 'sse-kms': 'encrypt', 'sse-c': 'encrypt' },
    'sse-s3': { plain: 'decrypt', 'sse-s3': 'rewrap', 'sse-kms': 'rewrap', 'sse-c': 'reencrypt' },
    'sse-kms': { plain: 'decrypt', 'sse-s3': 'reencrypt', 'sse-kms': 'rewrap', 'sse-c': 'reencrypt' },
    'sse-c': { plain: 'decrypt', 'sse-s3': 'reencrypt', 'sse-kms': 'reencrypt', 'sse-c': 'rewrap' },
  }
  const kinds = ['plain', 'sse-s3', 'sse-kms', 'sse-c'] as const
  for (const source of kinds)
    for (const target of kinds) {
      const plan = table[source][target]
      const never = plan === 'rewrap' ? 'reencrypt' : plan
      const name = `${source} to ${target}`
      t.equal(planCopy({ profile: obs, source, target, sameTenant: true }), plan, name)
      const question = { profile: s3, source, target, sameTenant: true }
      t.equal(planCopy({ ...question, copyMode: 'reencrypt' }), never, `${name}, copyMode`)
      t.equal(planCopy({ ...question, sameSuite: false }), never, `${name}, another suite`)
      t.equal(planCopy({ ...question, sameTenant: false }), never, `${name}, across tenants in s3`)
      if (plan === 'copy')
        t.equal(planCopy({ ...question, profile: obs, sameTenant: false }), 'copy', `${name}, across tenants`)
      else
        t.throws(
          () => planCopy({ ...question, profile: obs, sameTenant: false }),
          { code: 'AccessDenied' },
          `${name}, across tenants`,
        )
    }
  const nothing = {
    replacesMetadata: false,
    namesStorageClass: false,
    namesEncryption: false,
    bucketHasEncryption: false,
  }
  for (const name of [...Object.keys(nothing), 'namesRedirect', 'leavesKms'])
    t.doesNotThrow(() => assertSelfCopyLegal({ ...nothing, [name]: true }), `self-copy: ${name}`)
})

t.test('sections 1, 4 and 5: what is answered', async t => {
  const operations = [
    'put',
    'post',
    'copy',
    'initiate',
    'upload-part',
    'upload-part-copy',
    'complete',
    'get',
    'head',
  ] as const
  const sent: ObjectEncryption = { kind: 'sse-kms', keyId: arn, bucketKey: true, context: new Map([['a', '"é']]) }
  const withContext: readonly AnsweredOperation[] = ['put', 'copy', 'initiate']
  for (const operation of operations) {
    t.strictSame(sseResponseHeaders(operation, { kind: 'plain' }, 's3'), [], `${operation}: plain`)
    t.strictSame(sseResponseHeaders(operation, { kind: 'sse-s3' }, 's3'), [[S, 'AES256']], `${operation}: SSE-S3`)
    t.strictSame(
      sseResponseHeaders(operation, { kind: 'sse-s3' }, 'obs'),
      [[OS, 'AES256']],
      `${operation}: SSE-S3, OBS`,
    )
    const basic = [
      [S, 'aws:kms'],
      [K, arn],
    ]
    const off: ObjectEncryption = { kind: 'sse-kms', keyId: arn, bucketKey: false, context: new Map() }
    t.strictSame(sseResponseHeaders(operation, off, 's3'), basic, `${operation}: SSE-KMS`)
    t.strictSame(
      sseResponseHeaders(operation, { kind: 'sse-kms', keyId: arn }, 'obs'),
      [
        [OS, 'kms'],
        [OK, arn],
      ],
      `${operation}: SSE-KMS, OBS`,
    )
    t.strictSame(
      sseResponseHeaders(operation, sent, 's3'),
      [...basic, [B, 'true'], ...(withContext.includes(operation) ? [[X, base64('{"a":"\\"é"}')]] : [])],
      `${operation}: bucket key and context`,
    )
    t.equal(sseResponseHeaders(operation, sent, 'obs').length, 2, `${operation}: neither has an OBS header`)
    const customerAnswer = [
      ['x-amz-server-side-encryption-customer-algorithm', 'AES256'],
      ['x-amz-server-side-encryption-customer-key-md5', 'md5'],
    ]
    t.strictSame(
      sseResponseHeaders(operation, { kind: 'sse-c', keyMd5: 'md5' }, 's3'),
      operation === 'complete' ? [] : customerAnswer,
      `${operation}: SSE-C`,
    )
  }
})
