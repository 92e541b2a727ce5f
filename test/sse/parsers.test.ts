// The parsers of lib/sse against anything: key references, contexts, bucket encryption and whole sets of headers. They throw nothing but
// SseError with a message, and what they format they parse back.
import t from 'tap'
import * as fc from 'fast-check'
import { SseError } from '../../lib/errors.ts'
import {
  formatBucketEncryption,
  bucketEncryptionOrBase,
  parseBucketEncryption,
} from '../../lib/sse/bucket-encryption.ts'
import { formatContextHeader, parseContextHeader } from '../../lib/sse/context-header.ts'
import { parseCopySourceHeaders, parseCustomerKey, parseReadHeaders } from '../../lib/sse/customer-key.ts'
import { formatArn } from '../../lib/kms/provider.ts'
import { assertKeyScope, keyQuery, parseKeyReference } from '../../lib/sse/key-id.ts'
import { customerNames, managedNames, namesOf, obsNames, s3Names } from '../../lib/sse/names.ts'
import { parseWriteHeaders, refuseOnOther } from '../../lib/sse/request.ts'

const home = { region: 'sichuan', domainId: 'domainiddomainiddomainiddoma0001' }
const id = '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const arn = `arn:aws:kms:sichuan:domainiddomainiddomainiddoma0001:key/${id}`

/** The result, or `undefined` where an SseError with a message was thrown; anything else fails the test. */
const attempt = <T>(run: () => T): T | undefined => {
  try {
    return run()
  } catch (error) {
    if (error instanceof SseError && error.message !== '') return undefined
    throw error
  }
}

t.test('key references', async t => {
  t.equal(formatArn('sichuan', 'domainiddomainiddomainiddoma0001', id), arn)
  t.strictSame(parseKeyReference(id), { kind: 'key', id })
  t.strictSame(parseKeyReference(arn), { kind: 'key', id, scope: home })
  t.strictSame(parseKeyReference(arn.slice('arn:aws:kms:'.length)), { kind: 'key', id, scope: home })
  t.strictSame(parseKeyReference('alias/a/b'), { kind: 'alias', name: 'a/b' })
  t.strictSame(parseKeyReference('arn:aws:kms:r:d:alias/x'), {
    kind: 'alias',
    name: 'x',
    scope: { region: 'r', domainId: 'd' },
  })
  const multiRegion = 'mrk-1234567890abcdef1234567890abcdef'
  t.strictSame(parseKeyReference(multiRegion), { kind: 'key', id: multiRegion })
  for (const text of [
    '',
    'fake-key-id',
    ` ${id}`,
    `${id}\n`,
    id.toUpperCase(),
    `key/${id}`,
    'alias/',
    'alias/ä',
    `${arn}/`,
    arn.replace('aws', 'gcp'),
    arn.replace('sichuan', ''),
    arn.replace('sichuan', 'a:b'),
    arn.replace('kms', 's3'),
    'r:d:alias/x',
    `arn:aws:kms:r:d:${id}`,
  ])
    t.throws(() => parseKeyReference(text), { code: 'InvalidKeyId', message: `Invalid keyId '${text}'` }, text)

  t.strictSame(keyQuery(parseKeyReference(id), home), { keyId: id, scope: home })
  t.strictSame(keyQuery(parseKeyReference(arn), home), { keyId: arn })
  t.strictSame(keyQuery(parseKeyReference('arn:aws:kms:sichuan:d:alias/x'), home), { keyId: 'alias/x', scope: home })
  t.doesNotThrow(() => assertKeyScope({}, home))
  t.doesNotThrow(() => assertKeyScope(home, home))
  t.throws(() => assertKeyScope({ region: 'cn-1', domainId: 'x' }, home), {
    code: 'KeyNotFound',
    message: 'Invalid arn cn-1',
  })
  t.throws(() => assertKeyScope({ domainId: 'x' }, home), { code: 'KeyAccessDenied', status: 403 })
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => void attempt(() => parseKeyReference(text))))
})

t.test('encryption contexts', async t => {
  const strings = fc.string({ unit: 'grapheme', maxLength: 20 })
  fc.assert(
    fc.property(fc.array(fc.tuple(strings, strings)), entries => {
      const context = new Map(entries)
      const parsed = attempt(() => parseContextHeader(formatContextHeader(context)))
      t.ok(parsed === undefined || parsed.size === context.size)
      if (parsed) for (const [name, value] of context) t.equal(parsed.get(name), value)
      if (!context.has('')) t.ok(parsed, 'only an empty name is refused')
    }),
  )
  fc.assert(
    fc.property(fc.json(), text => void attempt(() => parseContextHeader(Buffer.from(text).toString('base64')))),
  )
  const header = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')
  for (const bad of [
    { '': 'x' },
    { a: '\ud800' },
    { '\udc00': 'x' },
    { 'aws:x': '' },
    { 'sse-kms-streams:x': '' },
    { a: 'x'.repeat(6200) },
  ])
    t.throws(() => parseContextHeader(header(bad)), { code: 'InvalidContext', status: 400, s3Code: 'InvalidArgument' })
  t.equal(parseContextHeader('e30=').size, 0)
})

t.test('bucket encryption', async t => {
  const rule = (apply: object, more: object = {}) => ({ Rule: { ApplyServerSideEncryptionByDefault: apply, ...more } })
  const cases = [
    [rule({ SSEAlgorithm: 'AES256' }), { kind: 'sse-s3', bucketKey: false }],
    [rule({ SSEAlgorithm: 'obs' }), { kind: 'sse-s3', bucketKey: false }],
    [rule({ SSEAlgorithm: 'AES256' }, { BucketKeyEnabled: 'true' }), { kind: 'sse-s3', bucketKey: true }],
    [rule({ SSEAlgorithm: 'aws:kms' }, { BucketKeyEnabled: false }), { kind: 'sse-kms', bucketKey: false }],
    [{ Rule: [rule({ SSEAlgorithm: 'kms' }).Rule] }, { kind: 'sse-kms', bucketKey: false }],
    [
      rule({ SSEAlgorithm: 'aws:kms', KMSMasterKeyID: id }, { BucketKeyEnabled: true }),
      { kind: 'sse-kms', bucketKey: true, keyId: id },
    ],
    [
      rule({ SSEAlgorithm: 'kms', KMSMasterKeyID: id, ProjectID: 'p' }, { BucketKeyEnabled: 'false' }),
      { kind: 'sse-kms', bucketKey: false, keyId: id, projectId: 'p' },
    ],
  ] as const
  for (const [form, wanted] of cases) {
    const parsed = parseBucketEncryption(form)
    t.strictSame(parsed, wanted)
    t.strictSame(parseBucketEncryption(formatBucketEncryption(parsed, 's3')), wanted, 'S3 form and back')
    t.strictSame(
      parseBucketEncryption(formatBucketEncryption(parsed, 'obs')),
      { ...wanted, bucketKey: false },
      'OBS form',
    )
  }
  for (const blocked of ['SSE-C', 'NONE'] as const) {
    const form = rule({ SSEAlgorithm: 'AES256' }, { BlockedEncryptionTypes: { EncryptionType: [blocked] } })
    const parsed = parseBucketEncryption(form)
    t.strictSame(parsed, { kind: 'sse-s3', bucketKey: false, blocked })
    t.strictSame(parseBucketEncryption(formatBucketEncryption(parsed, 's3')), parsed, 'S3 form and back')
    t.strictSame(formatBucketEncryption(parsed, 'obs'), rule({ SSEAlgorithm: 'obs' }), 'OBS has no such element')
  }
  t.strictSame(
    formatBucketEncryption({ kind: 'sse-s3', bucketKey: false }, 's3'),
    rule({ SSEAlgorithm: 'AES256' }, { BucketKeyEnabled: false }),
  )
  t.strictSame(formatBucketEncryption({ kind: 'sse-s3', bucketKey: true }, 'obs'), rule({ SSEAlgorithm: 'obs' }))
  t.strictSame(
    formatBucketEncryption({ kind: 'sse-kms', bucketKey: true, keyId: id, projectId: 'p' }, 'obs'),
    rule({ SSEAlgorithm: 'kms', KMSMasterKeyID: id, ProjectID: 'p' }),
  )
  t.strictSame(bucketEncryptionOrBase(undefined, 'sse-s3'), { kind: 'sse-s3', bucketKey: false }, 'the base of s3')
  t.strictSame(bucketEncryptionOrBase({ kind: 'sse-kms', bucketKey: true }, 'none'), {
    kind: 'sse-kms',
    bucketKey: true,
  })
  for (const bad of [
    undefined,
    null,
    'x',
    1,
    [],
    rule({ SSEAlgorithm: 1 }),
    { Rule: null },
    { Rule: { BucketKeyEnabled: true } },
    rule({ SSEAlgorithm: 'AES256' }, { BlockedEncryptionTypes: '' }),
    rule({ SSEAlgorithm: 'AES256' }, { BlockedEncryptionTypes: { EncryptionType: 'SSE-KMS' } }),
    rule({ SSEAlgorithm: 'AES256' }, { BlockedEncryptionTypes: { EncryptionType: ['SSE-C', 'NONE'] } }),
    { Rule: [1] },
  ])
    t.throws(() => parseBucketEncryption(bad), { code: 'MalformedXML' })
  fc.assert(fc.property(fc.anything(), value => void attempt(() => parseBucketEncryption(value))))
  fc.assert(
    fc.property(
      fc.anything(),
      fc.anything(),
      (a, b) =>
        void attempt(() =>
          parseBucketEncryption(rule({ SSEAlgorithm: 'aws:kms', KMSMasterKeyID: a }, { BucketKeyEnabled: b })),
        ),
    ),
  )
})

t.test('names', async t => {
  const all = [s3Names, obsNames].flatMap(names =>
    managedNames(names).concat(customerNames(names.customer), customerNames(names.copySource)),
  )
  t.equal(new Set(all).size, all.length, 'each name once')
  t.equal(all.length, 5 + 4 + 12)
  for (const name of all) t.equal(name, name.toLowerCase(), name)
  t.equal(namesOf.s3, s3Names)
  t.equal(namesOf.obs, obsNames)

  const key = Buffer.alloc(32, 1)
  const values = fc.oneof(
    fc.constantFrom(
      'aws:kms',
      'kms',
      'AES256',
      'SM4',
      'true',
      'false',
      '',
      id,
      arn,
      'alias/x',
      'e30=',
      'eyJhIjoiYiJ9',
      'project1',
    ),
    fc.constantFrom(key.toString('base64'), 'GC+QbZpuH5cqFRCDlw1iXA==', 'AAAA', '***'),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...all), values, { maxKeys: 8 }), fc.boolean(), (sent, secure) => {
      const map = new Map(Object.entries(sent))
      const headers = (name: string): string | undefined => map.get(name)
      const request = attempt(() => parseWriteHeaders(headers, { secure }))
      const any = [s3Names, obsNames].some(names =>
        [...managedNames(names), ...customerNames(names.customer)].some(name => map.has(name)),
      )
      if (request) t.equal(request.kind === 'none', !any, 'none means that none was sent')
      if (request?.kind === 'sse-c') t.equal(request.key.length, 32)
      for (const parse of [parseCustomerKey, parseReadHeaders, parseCopySourceHeaders])
        t.equal(attempt(() => parse(headers, { secure }))?.key.length ?? 32, 32)
      attempt(() => refuseOnOther('get', headers))
    }),
    { numRuns: 2000 },
  )
})
