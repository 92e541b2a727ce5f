import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { SseError } from '../../lib/errors.ts'
import { conditionKey, requestValues, type RequestFacts } from '../../lib/policy/facts.ts'
import { decide, type PolicyDecision, ruling } from '../../lib/policy/policy.ts'
import { glob } from '../../lib/policy/glob.ts'
import { parseJson, type Json } from '../../lib/policy/syntax.ts'
import { maxPolicyLength, parsePolicy, type Policy } from '../../lib/policy/policy.ts'
import type { PolicyPrincipal } from '../../lib/policy/elements.ts'

const bucket = 'bucket'
const bucketArn = `arn:aws:s3:::${bucket}`
const tenant = 'domainiddomainiddomainiddoma0001'
const alice: PolicyPrincipal = { domainId: tenant, userName: 'alice', anonymous: false }
const bob: PolicyPrincipal = { domainId: tenant, userName: 'bob', anonymous: false }
const stranger: PolicyPrincipal = { domainId: 'other', userName: 'alice', anonymous: false }
const nobody: PolicyPrincipal = { domainId: '', anonymous: true }

const parse = (document: unknown): Policy => parsePolicy(JSON.stringify(document), { bucket })

/** One statement with the given elements instead of the usual ones; `undefined` takes an element out. */
const statement = (elements: object = {}): object => ({
  Effect: 'Allow',
  Principal: '*',
  Action: 's3:GetObject',
  Resource: `${bucketArn}/*`,
  ...elements,
})

const policy = (elements: object = {}, version = '2012-10-17'): Policy =>
  parse({ Version: version, Statement: statement(elements) })

interface Ask {
  readonly principal?: PolicyPrincipal
  readonly action?: string
  readonly resource?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly facts?: Partial<RequestFacts>
}

const valuesOf = ({ headers = {}, facts = {} }: Ask): ReturnType<typeof requestValues> => {
  const map = new Map(Object.entries(headers))
  return requestValues({
    header: name => map.get(name),
    secure: true,
    now: new Date('2024-05-06T07:08:09.500Z'),
    ...facts,
  })
}

const ask = (policy: Policy | undefined, request: Ask = {}): PolicyDecision =>
  decide(policy, {
    principal: request.principal ?? alice,
    action: request.action ?? 's3:GetObject',
    resource: request.resource ?? `${bucketArn}/key`,
    values: valuesOf(request),
  })

/** The message of the MalformedPolicy error that `run` throws. */
const refusal = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof SseError && error.code === 'MalformedPolicy' && error.status === 400) return error.message
    throw error
  }
  return '(accepted)'
}

t.test("the page's policy, word for word", async t => {
  const page = `{
    "Version":"2008-10-17",
    "Id":"PutObjPolicy",
    "Statement":[{
      "Sid":"DenyUnEncryptedObjectUploads",
      "Effect":"Deny",
      "Principal":"*",
      "Action":"s3:PutObject",
      "Resource":"arn:aws:s3:::YourBucket/*",
      "Condition":{
        "StringNotEquals":{
          "s3:x-amz-server-side-encryption":"aws:kms"
        }
      }
    }
    ]
  }`
  const parsed = parsePolicy(page, { bucket: 'YourBucket' })
  t.match(parsed, { version: '2008-10-17', id: 'PutObjPolicy', statements: [{ sid: 'DenyUnEncryptedObjectUploads' }] })
  const put = (headers: Record<string, string>, principal = alice): PolicyDecision =>
    ask(parsed, { action: 's3:PutObject', resource: 'arn:aws:s3:::YourBucket/a/b', headers, principal })
  const s3 = 'x-amz-server-side-encryption'
  const obs = 'x-obs-server-side-encryption'
  const rows: readonly [string, Record<string, string>, PolicyDecision][] = [
    ['no header', {}, 'deny'],
    ['SSE-S3', { [s3]: 'AES256' }, 'deny'],
    ['unknown algorithm', { [s3]: 'aes:kms' }, 'deny'],
    ['other case', { [s3]: 'AWS:KMS' }, 'deny'],
    ['empty header', { [s3]: '' }, 'deny'],
    ['dsse', { [s3]: 'aws:kms:dsse' }, 'deny'],
    ['SSE-KMS', { [s3]: 'aws:kms' }, 'none'],
    ['SSE-KMS of OBS', { [obs]: 'kms' }, 'none'],
    ['SSE-S3 of OBS', { [obs]: 'AES256' }, 'deny'],
    ['both families, same meaning', { [s3]: 'aws:kms', [obs]: 'kms' }, 'none'],
    ['both families, different meaning', { [s3]: 'aws:kms', [obs]: 'AES256' }, 'deny'],
  ]
  for (const [name, headers, expected] of rows) t.equal(put(headers), expected, name)
  t.equal(put({}, nobody), 'deny', 'anonymous')
  t.equal(ask(parsed, { resource: 'arn:aws:s3:::YourBucket/a' }), 'none', 'does not concern GET')
  t.equal(ask(parsed, { action: 's3:PutBucketAcl', resource: 'arn:aws:s3:::YourBucket' }), 'none', 'nor the bucket')
  t.match(
    refusal(() => parsePolicy(page, { bucket: 'yourbucket' })),
    /^Statement\[0\]\.Resource: /,
  )
})

t.test('the same in the words of OBS', async t => {
  const parsed = parsePolicy(
    JSON.stringify({
      Statement: {
        Effect: 'Deny',
        Principal: { ID: '*' },
        Action: ['PutObject'],
        Resource: 'bucket/*',
        Condition: { StringNotEquals: { 'x-obs-server-side-encryption': ['kms'] } },
      },
    }),
    { bucket },
  )
  const put = (headers: Record<string, string>): PolicyDecision => ask(parsed, { action: 's3:PutObject', headers })
  t.equal(parsed.version, '2008-10-17')
  t.equal(put({}), 'deny')
  t.equal(put({ 'x-obs-server-side-encryption': 'AES256' }), 'deny')
  t.equal(put({ 'x-obs-server-side-encryption': 'kms' }), 'none')
  t.equal(put({ 'x-amz-server-side-encryption': 'aws:kms' }), 'none')
  t.equal(put({ 'x-amz-server-side-encryption': 'AES256' }), 'deny')
})

t.test('decisions', async t => {
  const allow = statement()
  const deny = statement({ Effect: 'Deny' })
  const other = statement({ Action: 's3:PutObject' })
  const decideOn = (...statements: object[]): PolicyDecision => ask(parse({ Statement: statements }))
  t.equal(ask(undefined), 'none', 'no policy')
  t.equal(decideOn(other), 'none')
  t.equal(decideOn(other, allow), 'allow')
  t.equal(decideOn(allow, deny), 'deny')
  t.equal(decideOn(deny, allow), 'deny')
  t.equal(decideOn(allow, statement({ Effect: 'Deny', Action: 's3:PutObject' })), 'allow')
})

t.test('principals', async t => {
  const everyone = [alice, bob, stranger, nobody]
  const rows: readonly [unknown, readonly PolicyPrincipal[]][] = [
    ['*', everyone],
    [{ AWS: '*' }, everyone],
    [{ ID: ['*'] }, everyone],
    [{ AWS: `arn:aws:iam::${tenant}:root` }, [alice, bob]],
    [{ AWS: tenant }, [alice, bob]],
    [{ AWS: `arn:aws:iam::${tenant}:user/alice` }, [alice]],
    [{ AWS: [`arn:aws:iam::${tenant}:user/ALICE`, `arn:aws:iam::${tenant}:user/bob`] }, [bob]],
    [{ AWS: ['other', `arn:aws:iam::${tenant}:user/bob`] }, [bob, stranger]],
    [{ ID: `domain/${tenant}` }, [alice, bob]],
    [{ ID: `domain/${tenant}:user/*` }, [alice, bob]],
    [{ ID: `domain/${tenant}:user/bob` }, [bob]],
    [{ ID: 'domain/other:user/alice', AWS: `arn:aws:iam::${tenant}:user/bob` }, [bob, stranger]],
  ]
  for (const [principal, who] of rows) {
    const yes = policy({ Principal: principal })
    const no = policy({ Effect: 'Deny', Principal: undefined, NotPrincipal: principal })
    for (const one of everyone) {
      const name = `${JSON.stringify(principal)} and ${JSON.stringify(one)}`
      t.equal(ask(yes, { principal: one }), who.includes(one) ? 'allow' : 'none', name)
      t.equal(ask(no, { principal: one }), who.includes(one) ? 'none' : 'deny', `not ${name}`)
    }
  }
  const root = { domainId: tenant, anonymous: false }
  t.equal(ask(policy({ Principal: { AWS: tenant } }), { principal: root }), 'allow', 'no user name')
  t.equal(ask(policy({ Principal: { ID: `domain/${tenant}:user/bob` } }), { principal: root }), 'none')
  const hidden = { domainId: tenant, userName: 'alice', anonymous: true }
  t.equal(ask(policy({ Principal: { AWS: tenant } }), { principal: hidden }), 'none', 'anonymous is of no tenant')
})

t.test('actions', async t => {
  const rows: readonly [string | string[], readonly string[], readonly string[]][] = [
    ['s3:GetObject', ['s3:GetObject', 'GetObject', 'S3:getobject'], ['s3:GetObjectAcl', 's3:PutObject']],
    ['getobject', ['s3:GetObject'], ['s3:GetObjectAcl']],
    ['S3:GETOBJECT', ['s3:GetObject'], []],
    ['s3:Get*', ['s3:GetObject', 's3:GetBucketAcl'], ['s3:PutObject', 's3:ListBucket']],
    ['Put?bject', ['s3:PutObject'], ['s3:PutObjectAcl']],
    [['s3:PutObject', 'DeleteObject'], ['s3:PutObject', 's3:DeleteObject'], ['s3:GetObject']],
    ['s3:*', ['s3:PutObject', 's3:PutBucketPolicy', 's3:Unheard'], []],
    ['*', ['s3:PutObject', 's3:ListBucket'], []],
    ['*Acl', ['s3:GetObjectAcl', 's3:PutBucketAcl'], ['s3:PutObject']],
  ]
  const resources = [bucketArn, `${bucketArn}/*`]
  for (const [action, yes, no] of rows) {
    const positive = policy({ Action: action, Resource: resources })
    const negative = policy({ Action: undefined, NotAction: action, Resource: resources })
    for (const one of [...yes, ...no]) {
      t.equal(ask(positive, { action: one }), yes.includes(one) ? 'allow' : 'none', `${action} and ${one}`)
      t.equal(ask(negative, { action: one }), yes.includes(one) ? 'none' : 'allow', `not ${action} and ${one}`)
    }
  }
})

t.test('resources', async t => {
  const rows: readonly [string | string[], readonly string[], readonly string[]][] = [
    [`${bucketArn}/*`, ['bucket/key', 'bucket/a/b', 'bucket/', 'bucket/a\nb'], ['bucket', 'bucket2/key']],
    ['bucket/*', ['bucket/key', `${bucketArn}/key`], ['bucket']],
    ['bucket/a', ['bucket/a'], ['bucket/A', 'bucket/ab', 'bucket/a/']],
    ['bucket/home/*/x', ['bucket/home/a/x', 'bucket/home/a/b/x'], ['bucket/home/x', 'bucket/home/a/xx']],
    ['bucket/?.txt', ['bucket/a.txt', 'bucket/🔑.txt', 'bucket//.txt'], ['bucket/.txt', 'bucket/ab.txt']],
    [['bucket/a*', 'bucket/*z'], ['bucket/az', 'bucket/a', 'bucket/z'], ['bucket/b']],
    ['bucket*', ['bucket', 'bucket/key'], []],
    ['bucket/${aws:username}', ['bucket/${aws:username}'], ['bucket/alice']],
  ]
  for (const [resource, yes, no] of rows) {
    const positive = policy({ Resource: resource }, '2008-10-17')
    const negative = policy({ Resource: undefined, NotResource: resource }, '2008-10-17')
    for (const one of [...yes, ...no]) {
      t.equal(ask(positive, { resource: one }), yes.includes(one) ? 'allow' : 'none', `${resource} and ${one}`)
      t.equal(ask(negative, { resource: one }), yes.includes(one) ? 'none' : 'allow', `not ${resource} and ${one}`)
    }
  }
  const list = policy({ Action: 's3:ListBucket', Resource: bucketArn })
  t.equal(ask(list, { action: 's3:ListBucket', resource: bucketArn }), 'allow')
  const mixed = policy({ Action: ['s3:ListBucket', 's3:GetObject'], Resource: [bucketArn, `${bucketArn}/*`] })
  t.equal(ask(mixed, { action: 's3:ListBucket', resource: bucketArn }), 'allow')
  t.equal(ask(policy({ Action: 's3:ListBucket', Resource: undefined, NotResource: 'bucket/a' })), 'none')
})

/** Whether one condition holds for values of `aws:useragent` (or another key). */
const holds = (
  operator: string,
  wanted: unknown,
  values: readonly string[] | undefined,
  key = 'aws:useragent',
): boolean =>
  decide(policy({ Condition: { [operator]: { [key]: wanted } } }), {
    principal: nobody,
    action: 's3:GetObject',
    resource: `${bucketArn}/key`,
    values: name => (name === key ? values : undefined),
  }) === 'allow'

t.test('operators on one value', async t => {
  const rows: readonly [operator: string, wanted: unknown, yes: readonly string[], no: readonly string[]][] = [
    ['StringEquals', 'aB*', ['aB*'], ['ab*', 'aBc', '']],
    ['StringEquals', ['a', 'b'], ['a', 'b'], ['c', 'ab']],
    ['StringEquals', 7, ['7'], ['07']],
    ['StringEquals', '', [''], ['a']],
    ['StringEqualsIgnoreCase', 'aB', ['ab', 'AB'], ['abc']],
    ['StringLike', 'a*c?', ['acd', 'abbbcd'], ['ac', 'Acd', 'acde']],
    ['StringLike', '*', ['', 'x'], []],
    ['NumericEquals', '10', ['10', '10.0', '+10', '010'], ['11', 'ten', '', '0xA', '1e1', ' 10']],
    ['NumericEquals', -1.5, ['-1.5'], ['1.5']],
    ['NumericLessThan', '10', ['9', '-20'], ['10', '11', 'x']],
    ['NumericLessThanEquals', '10', ['9', '10'], ['11', 'x']],
    ['NumericGreaterThan', '10', ['11', '99999999999999999999'], ['10', '9', 'x']],
    ['NumericGreaterThanEquals', '10', ['10', '11'], ['9', 'x']],
    ['NumericGreaterThanEquals', ['10', '5'], ['5'], ['4']],
    ['DateEquals', '2024-01-02', ['2024-01-02T00:00:00Z', '2024-01-02T01:00+01:00', '1704153600'], ['2024-01-03', 'x']],
    ['DateLessThan', '2024-01-02T03:04:05.5Z', ['2024-01-02T03:04:05.4Z'], ['2024-01-02T03:04:05.5Z', 'never']],
    ['DateLessThanEquals', '2024-01-02', ['2024-01-02', '2024-01-01'], ['2024-01-03', '2024-13-01', '2024-02-30']],
    ['DateGreaterThan', '1704153600', ['2024-01-03'], ['2024-01-02', '2024-01-01']],
    ['DateGreaterThanEquals', '2024-01-02', ['2024-01-02', '2024-01-02T25:00Z'].slice(0, 1), ['2024-01-02T25:00Z']],
    ['Bool', 'true', ['true', 'TRUE'], ['false', '', '1']],
    ['Bool', false, ['false'], ['true']],
    [
      'IpAddress',
      '10.1.2.3',
      ['10.1.2.3', '::ffff:10.1.2.3'],
      ['10.1.2.4', '010.1.2.3', '167838211', 'x', '', '::a01:203'],
    ],
    ['IpAddress', '10.0.0.0/8', ['10.255.0.1', '::ffff:a00:1'], ['11.0.0.1', '::10', '10.0.0.1/8']],
    ['IpAddress', '10.9.9.9/0', ['1.2.3.4'], ['::1']],
    [
      'IpAddress',
      ['192.168.176.0/24', '2001:db8::/32'],
      ['192.168.176.9', '2001:DB8:1::1'],
      ['192.168.177.1', '2001:db9::1'],
    ],
    ['IpAddress', '::1', ['::1', '0:0:0:0:0:0:0:1'], ['::2', '0.0.0.1', '127.0.0.1']],
    [
      'IpAddress',
      '::ffff:10.0.0.1',
      ['10.0.0.1', '::ffff:10.0.0.1', '::FFFF:A00:1', '0:0:0:0:0:ffff:10.0.0.1', '::10.0.0.1', '::ffff:10.0.0.1%eth0'],
      ['::1', '::a00:1', '64:ff9b::10.0.0.1', '10.0.0.1%eth0', '::ffff:010.0.0.1', '::ffff:0xa.0.0.1', '::ffff:10.0.1'],
    ],
    ['IpAddress', '::ffff:a00:1', ['10.0.0.1', '::ffff:a00:1'], ['10.0.0.2', '::a00:1']],
    ['IpAddress', '::/0', ['::', '::1', 'fe80::1%eth0'], ['0.0.0.0', '10.0.0.1', '::ffff:10.0.0.1', '::10.0.0.1']],
    ['IpAddress', '0.0.0.0/0', ['0.0.0.0', '::ffff:a00:1'], ['::', '::1', '::a00:1']],
    [
      'IpAddress',
      'fe80::1%eth0/64',
      ['fe80::2', 'fe80::2%eth1', 'FE80:0::9'],
      ['fe80:0:0:1::1', 'fe80::2%', 'fe80::2%a-b', 'fe80::2%a%b', 'fe80::00002', 'fe80::2::', 'fe80::g', 'fe80::2/64'],
    ],
    [
      'IpAddress',
      '10.0.0.0/9',
      ['10.127.255.255'],
      ['10.128.0.0', ' 10.0.0.1', '10.0.0.1 ', '10.0.0.256', '0xa.0.0.1'],
    ],
    [
      'IpAddress',
      '2001:db8:8000::/33',
      ['2001:db8:8000::', '2001:db8:ffff::1'],
      ['2001:db8:7fff::', '2001:db9:8000::'],
    ],
    ['ArnEquals', 'arn:aws:kms:*:dom:key/?', ['arn:aws:kms:eu:dom:key/1'], ['arn:aws:kms:a:b:dom:key/1', 'key/1', '']],
    [
      'ArnLike',
      'arn:aws:kms:*:*:key/*',
      ['arn:aws:kms:eu:d:key/a:b'],
      ['arn:aws:kms:eu:d:alias/a', 'arn:aws:s3:eu:d:key/a'],
    ],
  ]
  const negated = new Map([
    ['StringEquals', 'StringNotEquals'],
    ['StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase'],
    ['StringLike', 'StringNotLike'],
    ['NumericEquals', 'NumericNotEquals'],
    ['DateEquals', 'DateNotEquals'],
    ['IpAddress', 'NotIpAddress'],
    ['ArnEquals', 'ArnNotEquals'],
    ['ArnLike', 'ArnNotLike'],
  ])
  for (const [operator, wanted, yes, no] of rows) {
    const opposite = negated.get(operator)
    for (const [values, expected] of [
      [yes, true],
      [no, false],
    ] as const)
      for (const value of values) {
        const name = `${operator} ${JSON.stringify(wanted)} on ${JSON.stringify(value)}`
        for (const form of [
          operator,
          `${operator}IfExists`,
          `ForAnyValue:${operator}`,
          `ForAllValues:${operator}IfExists`,
        ])
          t.equal(holds(form, wanted, [value]), expected, `${form}: ${name}`)
        if (opposite) t.equal(holds(opposite, wanted, [value]), !expected, `${opposite}: ${name}`)
      }
    for (const absent of [undefined, []]) {
      t.equal(holds(operator, wanted, absent), false, `${operator} does not hold when absent`)
      t.equal(holds(`${operator}IfExists`, wanted, absent), true, `${operator}IfExists holds when absent`)
      t.equal(holds(`ForAllValues:${operator}`, wanted, absent), true)
      t.equal(holds(`ForAnyValue:${operator}`, wanted, absent), false)
      t.equal(holds(`ForAnyValue:${operator}IfExists`, wanted, absent), true)
      if (opposite) {
        t.equal(holds(opposite, wanted, absent), true, `${opposite} holds when absent`)
        t.equal(holds(`${opposite}IfExists`, wanted, absent), true)
        t.equal(holds(`ForAllValues:${opposite}`, wanted, absent), true)
        t.equal(holds(`ForAnyValue:${opposite}`, wanted, absent), false)
      }
    }
  }
})

t.test('operators on several values, and Null', async t => {
  const rows: readonly [string, unknown, readonly string[], boolean][] = [
    ['StringEquals', 'a', ['b', 'a'], true],
    ['StringNotEquals', 'a', ['b', 'a'], false],
    ['StringNotEquals', 'a', ['b', 'c'], true],
    ['ForAnyValue:StringEquals', ['a', 'b'], ['c', 'b'], true],
    ['ForAnyValue:StringEquals', ['a', 'b'], ['c', 'd'], false],
    ['ForAnyValue:StringNotEquals', 'a', ['a', 'b'], true],
    ['ForAnyValue:StringNotEquals', 'a', ['a', 'a'], false],
    ['ForAllValues:StringEquals', ['a', 'b'], ['a', 'b', 'a'], true],
    ['ForAllValues:StringEquals', ['a', 'b'], ['a', 'c'], false],
    ['ForAllValues:StringNotLike', 'a*', ['b', 'c'], true],
    ['ForAllValues:StringNotLike', 'a*', ['b', 'ab'], false],
    ['Null', 'true', ['x'], false],
    ['Null', 'true', [], true],
    ['Null', false, ['x'], true],
    ['Null', 'FALSE', [], false],
    ['Null', ['true', 'false'], ['x'], true],
  ]
  for (const [operator, wanted, values, expected] of rows)
    t.equal(holds(operator, wanted, values), expected, `${operator} ${wanted} on ${values}`)
  t.equal(holds('ArnLike', '*:*:*:*:*:*', [`a:b:c:d:e:${'f'.repeat(2038)}`]), true)
  t.equal(holds('ArnLike', '*:*:*:*:*:*', [`a:b:c:d:e:${'f'.repeat(2039)}`]), false, 'longer than an ARN')
  t.equal(holds('IpAddress', '::/0', [`fe80::1%${'e'.repeat(56)}`]), true)
  t.equal(holds('IpAddress', '::/0', [`fe80::1%${'e'.repeat(57)}`]), false, 'longer than an address')

  t.equal(holds('Null', true, undefined), true)
  t.equal(holds('Null', 'false', undefined), false)

  const both = policy({
    Condition: { StringEquals: { 'aws:UserAgent': 'a', 'aws:Referer': 'r' }, Bool: { 'aws:SecureTransport': true } },
  })
  const facts = { userAgent: 'a', referer: 'r', secure: true }
  t.equal(ask(both, { facts }), 'allow', 'all conditions hold')
  for (const wrong of [{ userAgent: 'b' }, { referer: 'b' }, { secure: false }])
    t.equal(ask(both, { facts: { ...facts, ...wrong } }), 'none', 'one does not')
  t.equal(ask(policy({ Condition: {} })), 'allow', 'no condition')
})

t.test('the values of a request', async t => {
  const kms = 'arn:aws:kms:sichuan:dom:key/4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
  const keyId = 's3:x-amz-server-side-encryption-aws-kms-key-id'
  const rows: readonly [key: string, Ask, readonly string[] | undefined][] = [
    ['aws:sourceip', { facts: { sourceIp: '10.0.0.1' } }, ['10.0.0.1']],
    ['aws:sourceip', {}, undefined],
    ['aws:securetransport', {}, ['true']],
    ['aws:securetransport', { facts: { secure: false } }, ['false']],
    ['aws:useragent', { facts: { userAgent: 'u' } }, ['u']],
    ['aws:referer', { facts: { referer: 'r' } }, ['r']],
    ['aws:currenttime', {}, ['2024-05-06T07:08:09.500Z']],
    ['aws:epochtime', {}, ['1714979289']],
    ['s3:prefix', { facts: { prefix: '' } }, ['']],
    ['s3:prefix', {}, undefined],
    ['s3:delimiter', { facts: { delimiter: '/' } }, ['/']],
    ['s3:max-keys', { facts: { maxKeys: '10' } }, ['10']],
    ['s3:x-amz-acl', { headers: { 'x-amz-acl': 'private' } }, ['private']],
    ['s3:x-amz-acl', { headers: { 'x-obs-acl': 'public-read' } }, ['public-read']],
    ['s3:x-amz-acl', { headers: { 'x-amz-acl': 'private', 'x-obs-acl': 'public-read' } }, ['private, public-read']],
    ['s3:x-amz-acl', { headers: { 'x-amz-acl': '', 'x-obs-acl': 'private' } }, ['private']],
    ['s3:x-amz-acl', { headers: { acl: 'private' } }, undefined],
    ['s3:x-amz-copy-source', {}, undefined],
    ['s3:x-amz-copy-source', { headers: { 'x-amz-copy-source': '/b/a%20b' } }, ['b/a b', '/b/a b']],
    ['s3:x-amz-copy-source', { headers: { 'x-obs-copy-source': 'b/k?versionId=1' } }, ['b/k', '/b/k']],
    ['s3:x-amz-copy-source', { headers: { 'x-amz-copy-source': 'b/100%' } }, ['b/100%', '/b/100%']],
    ['s3:x-amz-server-side-encryption', { headers: { 'x-obs-server-side-encryption': 'obs' } }, ['obs']],
    ['x-obs-server-side-encryption', { headers: { 'x-amz-server-side-encryption': 'AES256' } }, ['AES256']],
    [keyId, { headers: { 'x-amz-server-side-encryption-aws-kms-key-id': kms } }, [kms]],
    [keyId, { headers: { 'x-obs-server-side-encryption-kms-key-id': kms.slice('arn:aws:kms:'.length) } }, [kms]],
    [keyId, { headers: { 'x-amz-server-side-encryption-aws-kms-key-id': 'alias/a' } }, ['alias/a']],
    [keyId, {}, undefined],
    [
      's3:x-amz-server-side-encryption-customer-algorithm',
      { headers: { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' } },
      ['AES256'],
    ],
    ['__proto__', {}, undefined],
    ['constructor', {}, undefined],
  ]
  for (const [key, request, expected] of rows)
    t.same(valuesOf(request)(key), expected, `${key} ${JSON.stringify(request)}`)

  const names: readonly [string, string | undefined][] = [
    ['AWS:SourceIP', 'aws:sourceip'],
    ['SourceIp', 'aws:sourceip'],
    ['CurrentTime', 'aws:currenttime'],
    ['max-keys', 's3:max-keys'],
    ['x-obs-acl', 's3:x-amz-acl'],
    ['acl', 's3:x-amz-acl'],
    ['copysource', 's3:x-amz-copy-source'],
    ['x-obs-copy-source', 's3:x-amz-copy-source'],
    ['metadata-directive', 's3:x-amz-metadata-directive'],
    ['X-OBS-server-side-encryption', 'x-obs-server-side-encryption'],
    ['x-obs-server-side-encryption-kms-key-id', keyId],
    ['x-amz-server-side-encryption', undefined],
    ['s3:x-amz-tagging', undefined],
    ['__proto__', undefined],
  ]
  for (const [name, expected] of names) t.equal(conditionKey(name), expected, name)

  const copy = (operator: string, wanted: string): PolicyDecision =>
    ask(policy({ Action: 's3:PutObject', Condition: { [operator]: { 's3:x-amz-copy-source': wanted } } }), {
      action: 's3:PutObject',
      headers: { 'x-amz-copy-source': 'src/public/%61' },
    })
  t.equal(copy('StringLike', 'src/public/*'), 'allow')
  t.equal(copy('StringLike', '/src/public/*'), 'allow')
  t.equal(copy('StringNotLike', 'src/public/*'), 'none')
  t.equal(copy('StringNotEquals', '/src/public/a'), 'none')
})

t.test('malformed policies, and where', async t => {
  const long = 'x'.repeat(2049)
  const texts: readonly [text: string, message: RegExp][] = [
    ['', /^Policy, character 1: a JSON value/],
    ['{', /^Policy, character 2: a JSON string/],
    ['{"a"}', /^Policy, character 5: ":"/],
    ['{"a":1', /^Policy, character 7: "," or "}"/],
    ['[1 2]', /^Policy, character 4: "," or "]"/],
    ['[1,]', /^Policy, character 4: a JSON value/],
    ['{} x', /^Policy, character 4: the JSON text should end/],
    ['\ufeff{}', /^Policy, character 1: /],
    ['"a\nb"', /^Policy, character 1: a JSON string/],
    ['{"Version":"a","Version":"b"}', /^Policy, character 16: "Version" stands twice/],
    ['{"__proto__":1,"\\u005f_proto__":2}', /^Policy, character 16: "__proto__" stands twice/],
    [`{"Id": "${long}"}`, /^Policy, character 8: the string is too long/],
    ['['.repeat(10_000), /^Policy, character 9: the JSON is nested too deeply/],
    ['{"a":'.repeat(4_000), /nested too deeply/],
    [' '.repeat(maxPolicyLength + 1), /^Policy: is longer than 20480 bytes/],
    [`"${'€'.repeat(maxPolicyLength / 3 + 1)}"`, /^Policy: is longer than 20480 bytes/],
    ['null', /^Policy: write a JSON object/],
    ['[]', /^Policy: write a JSON object/],
    ['"x"', /^Policy: write a JSON object/],
  ]
  for (const [text, message] of texts)
    t.match(
      refusal(() => parsePolicy(text, { bucket })),
      message,
      text.slice(0, 40),
    )
  t.equal(
    refusal(() => parsePolicy(' '.repeat(100) + JSON.stringify({ Statement: statement() }), { bucket })),
    '(accepted)',
  )

  const documents: readonly [unknown, RegExp][] = [
    [{}, /^Policy: has no Statement/],
    [{ Statement: [] }, /^Statement: the list is empty/],
    [{ Statement: 'x' }, /^Statement: write a JSON object/],
    [{ Statement: [statement(), 1] }, /^Statement\[1\]: write a JSON object/],
    [{ Statement: statement(), Version: '2012-10-18' }, /^Version: /],
    [{ Statement: statement(), Version: null }, /^Version: /],
    [{ Statement: statement(), Id: 7 }, /^Id: write a string/],
    [{ Statement: statement(), version: '2012-10-17' }, /^Policy: "version" is not known here/],
    [JSON.parse('{"__proto__": {}}'), /^Policy: "__proto__" is not known here/],
    [{ constructor: 1 }, /^Policy: "constructor" is not known here/],
  ]
  for (const [document, message] of documents)
    t.match(
      refusal(() => parse(document)),
      message,
      JSON.stringify(document).slice(0, 60),
    )

  const key = 's3:x-amz-server-side-encryption'
  const statements: readonly [object, RegExp][] = [
    [{ Effect: undefined }, /^Statement\.Effect: write "Allow" or "Deny"/],
    [{ Effect: 'deny' }, /^Statement\.Effect: /],
    [{ Sid: ['a'] }, /^Statement\.Sid: write a string/],
    [{ Resources: 'x' }, /^Statement: "Resources" is not known here\. Use Sid, /],
    [JSON.parse('{"__proto__": 1}'), /^Statement: "__proto__" is not known/],
    [{ Principal: undefined }, /^Statement: needs Principal or NotPrincipal/],
    [{ NotPrincipal: '*' }, /^Statement: needs Principal or NotPrincipal, and not both/],
    [{ Action: undefined }, /^Statement: needs Action or NotAction/],
    [{ NotAction: 's3:*' }, /^Statement: needs Action/],
    [{ NotResource: 'bucket/*' }, /^Statement: needs Resource/],
    [{ Resource: undefined }, /^Statement: needs Resource/],
    [{ Principal: 'alice' }, /^Statement\.Principal: write "\*" or/],
    [{ Principal: ['*'] }, /^Statement\.Principal: /],
    [{ Principal: {} }, /^Statement\.Principal: the object is empty/],
    [{ Principal: { AWS: [] } }, /^Statement\.Principal\.AWS: the list is empty/],
    [{ Principal: { AWS: 1 } }, /^Statement\.Principal\.AWS: write a string/],
    [{ Principal: { CanonicalUser: 'x' } }, /^Statement\.Principal: "CanonicalUser" is not known here\. Use AWS, ID/],
    [{ Principal: { Service: 'obs' } }, /"Service" is not known/],
    [JSON.parse('{"Principal": {"__proto__": "*"}}'), /^Statement\.Principal: "__proto__" is not known/],
    [
      { Principal: { AWS: ['a', 'arn:aws:iam::d:role/r'] } },
      /^Statement\.Principal\.AWS\[1\]: "arn:aws:iam::d:role\/r" is/,
    ],
    [{ Principal: { AWS: 'arn:aws:iam::d:user/*' } }, /^Statement\.Principal\.AWS: /],
    [{ Principal: { AWS: 'arn:aws:iam::*:root' } }, /^Statement\.Principal\.AWS: /],
    [{ Principal: { AWS: '' } }, /^Statement\.Principal\.AWS: /],
    [{ Principal: { ID: 'domain/d:agency/a' } }, /^Statement\.Principal\.ID: /],
    [{ Principal: { ID: 'domain/*' } }, /^Statement\.Principal\.ID: /],
    [{ Effect: 'Deny', Principal: undefined, NotPrincipal: { ID: 'd' } }, /^Statement\.NotPrincipal\.ID: /],
    [{ Principal: undefined, NotPrincipal: { AWS: 'd' } }, /^Statement\.NotPrincipal: Allow with NotPrincipal is not /],
    [{ Action: 's3:GetObjects' }, /^Statement\.Action: "s3:GetObjects" is not an action/],
    [{ Action: ['s3:GetObject', 's4:GetObject'] }, /^Statement\.Action\[1\]: /],
    [{ Action: 's*:GetObject' }, /^Statement\.Action: /],
    [{ Action: 'Gets3:Object' }, /^Statement\.Action: /],
    [{ Action: '' }, /^Statement\.Action: /],
    [{ Action: [] }, /^Statement\.Action: the list is empty/],
    [{ Action: { a: 1 } }, /^Statement\.Action: write a string/],
    [{ Action: [['s3:GetObject']] }, /^Statement\.Action\[0\]: write a string/],
    [{ Action: undefined, NotAction: 'Foo*' }, /^Statement\.NotAction: /],
    [
      { Action: ['s3:GetObject', 's3:ListBucket'] },
      /^Statement\.Action\[1\]: "s3:ListBucket" does not apply .* the bucket itself/,
    ],
    [{ Resource: bucketArn }, /^Statement\.Action: "s3:GetObject" does not apply .* objects/],
    [{ Resource: '*' }, /^Statement\.Resource: "\*" is not a resource of this bucket/],
    [{ Resource: 'arn:aws:s3:::*' }, /^Statement\.Resource: /],
    [{ Resource: [`${bucketArn}/*`, 'arn:aws:s3:::bucket2/*'] }, /^Statement\.Resource\[1\]: /],
    [{ Resource: 'arn:aws:s3:eu:1:bucket/*' }, /^Statement\.Resource: /],
    [{ Resource: '/bucket/*' }, /^Statement\.Resource: /],
    [{ Resource: '' }, /^Statement\.Resource: /],
    [{ Resource: undefined, NotResource: 'other/*' }, /^Statement\.NotResource: /],
    [{ Resource: 'bucket/${aws:username}/*' }, /^Statement\.Resource: policy variables are not supported/],
    [{ Condition: [] }, /^Statement\.Condition: write a JSON object/],
    [{ Condition: 'x' }, /^Statement\.Condition: write a JSON object/],
    [
      { Condition: { StringEqual: { [key]: 'a' } } },
      /^Statement\.Condition: "StringEqual" is not a condition operator/,
    ],
    [{ Condition: { stringequals: { [key]: 'a' } } }, /^Statement\.Condition: /],
    [{ Condition: { BinaryEquals: { [key]: 'a' } } }, /^Statement\.Condition: /],
    [{ Condition: { NullIfExists: { [key]: 'true' } } }, /^Statement\.Condition: "NullIfExists"/],
    [{ Condition: { 'ForAnyValue:Null': { [key]: 'true' } } }, /^Statement\.Condition: /],
    [{ Condition: { 'ForSomeValue:StringEquals': { [key]: 'a' } } }, /^Statement\.Condition: /],
    [{ Condition: { '': { [key]: 'a' } } }, /^Statement\.Condition: "" is not/],
    [{ Condition: { IfExists: { [key]: 'a' } } }, /^Statement\.Condition: /],
    [JSON.parse(`{"Condition": {"__proto__": {"${key}": "a"}}}`), /^Statement\.Condition: "__proto__" is not/],
    [{ Condition: { constructor: { [key]: 'a' } } }, /^Statement\.Condition: "constructor" is not/],
    [{ Condition: { StringEquals: 'a' } }, /^Statement\.Condition\.StringEquals: write a JSON object/],
    [{ Condition: { StringEquals: {} } }, /^Statement\.Condition\.StringEquals: the object is empty/],
    [
      { Condition: { StringEquals: { 's3:nothing': 'a' } } },
      /^Statement\.Condition\.StringEquals: "s3:nothing" is not a cond/,
    ],
    [
      JSON.parse('{"Condition": {"StringEquals": {"__proto__": "a"}}}'),
      /StringEquals: "__proto__" is not a condition key/,
    ],
    [
      { Condition: { StringEquals: { [key]: [] } } },
      /^Statement\.Condition\.StringEquals\.s3:x-amz-.*: the list is empty/,
    ],
    [
      { Condition: { StringEquals: { [key]: null } } },
      /^Statement\.Condition\.StringEquals\.s3:x-amz-.*: write a string/,
    ],
    [{ Condition: { StringEquals: { [key]: ['a', { b: 1 }] } } }, /encryption\[1\]: write a string/],
    [{ Condition: { StringEquals: { [key]: '${aws:username}' } } }, /encryption: policy variables are not supported/],
    [{ Condition: { Bool: { [key]: 'yes' } } }, /encryption: "yes" is not a value for Bool/],
    [{ Condition: { Null: { [key]: 'maybe' } } }, /encryption: "maybe" is not a value for Null/],
    [{ Condition: { NumericEquals: { 's3:max-keys': 'ten' } } }, /max-keys: "ten" is not a value for NumericEquals/],
    [{ Condition: { DateEquals: { CurrentTime: '2024-02-30' } } }, /CurrentTime: "2024-02-30" is not a value/],
    [{ Condition: { DateEquals: { CurrentTime: 'tomorrow' } } }, /CurrentTime: "tomorrow" is not a value/],
    ...[
      '10.0.0.0/33',
      '10.0.0.0/08',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10/8',
      '::/129',
      '::ffff:10.0.0.0/8',
      '::10.0.0.0/104',
      '::ffff:a00:0/104',
      '010.0.0.1',
      '::ffff:010.0.0.1',
      '10.0.0.1%eth0',
      'fe80::1%a-b',
      '10.0.0.0/-1',
      '10.0.0.0/ 8',
      '10.0.0.0 /8',
      'host',
      '',
    ].map((range): [object, RegExp] => [
      { Condition: { IpAddress: { 'aws:SourceIp': range } } },
      /is not a value for IpAddress/,
    ]),
    [{ Condition: { ArnLike: { [key]: 'key/1' } } }, /"key\/1" is not a value for ArnLike/],
  ]
  for (const [elements, message] of statements)
    t.match(
      refusal(() => policy(elements)),
      message,
      JSON.stringify(elements),
    )

  const plain = policy({ Condition: { StringEquals: { 'aws:UserAgent': '${aws:username}' } } }, '2008-10-17')
  t.equal(ask(plain, { facts: { userAgent: '${aws:username}' } }), 'allow', 'plain text in the older version')
  const quoted = refusal(() => policy({ Action: `s3:\u0000\n${'x'.repeat(200)}` }))
  t.match(quoted, /^Statement\.Action: "s3:\\u0000\\nx{75}…" is not an action/, 'quoted and cut')
})

t.test('a policy is frozen', async t => {
  const parsed = policy({ Condition: { Bool: { 'aws:SecureTransport': 'true' } } })
  for (const object of [parsed, parsed.statements, parsed.statements[0], parsed.statements[0]?.conditions])
    t.ok(Object.isFrozen(object))
  t.ok(Object.isFrozen(parsed.statements[0]?.conditions[0]))
})

t.test('wildcards', async t => {
  /** The definition, tried out position by position. */
  const naive = (pattern: readonly string[], text: readonly string[]): boolean => {
    const [p, ...ps] = pattern
    if (p === undefined) return text.length === 0
    if (p === '*') return text.some((_, i) => naive(ps, text.slice(i))) || naive(ps, [])
    return text.length > 0 && (p === '?' || p === text[0]) && naive(ps, text.slice(1))
  }
  const letters = fc.array(fc.constantFrom('a', 'b', '🔑', '/'), { maxLength: 12 })
  const patterns = fc.array(fc.constantFrom('a', 'b', '🔑', '/', '?', '*', '*'), { maxLength: 8 })
  fc.assert(
    fc.property(fc.array(patterns, { maxLength: 4 }), letters, (list, text) => {
      const expected = list.some(pattern => naive(pattern, text))
      return glob(list.map(pattern => pattern.join('')))(text.join('')) === expected
    }),
    { numRuns: 1000 },
  )
  // Patterns longer than a word of 32 states, made so that they match, then spoiled.
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', '?', '*'), { minLength: 30, maxLength: 200 }),
      fc.nat(),
      (pattern, n) => {
        const text = pattern.map((p, i) => (p === '*' ? 'ab'.repeat((i + n) % 3) : p === '?' ? 'b' : p)).join('')
        const test = glob([pattern.join('')])
        return test(text) && (pattern.includes('*') || (!test(`${text}a`) && !test(text.slice(1))))
      },
    ),
  )
  const text = 'a'.repeat(16_384)
  const hostile = [
    [`${'*a?'.repeat(600)}*b`],
    [`${'a*'.repeat(1000)}b`],
    [`*${'a'.repeat(2000)}?b`],
    Array.from({ length: 3000 }, (_, i) => `*?${i}b`),
  ]
  // A matcher that tried every way would not come to an end here before the test's time does.
  for (const patterns of hostile) t.equal(glob(patterns)(text), false, 'hostile patterns')
})

const toPlain = (value: Json): unknown => {
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, member]) => [name, toPlain(member)]))
  return Array.isArray(value) ? value.map(toPlain) : value
}

t.test('random texts', async () => {
  const known =
    'Version Id Statement Sid Effect Principal NotAction Action Resource Condition Allow 2012-10-17 * s3:* bucket/* ' +
    'StringLike IpAddress DateEquals ArnLike aws:SourceIp s3:prefix 10.0.0.0/8 AWS ID __proto__ constructor toString'
  const word = fc.oneof(fc.constantFrom(...known.split(' ')), fc.string(), fc.string({ unit: 'binary' }))
  const json = fc.letrec<{ value: unknown; object: unknown }>(tie => ({
    value: fc.oneof(
      { maxDepth: 6 },
      word,
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value')),
      tie('object'),
    ),
    object: fc.dictionary(word, tie('value'), { maxKeys: 6 }),
  }))
  const mutated = fc
    .tuple(
      fc.constant(
        JSON.stringify({ Version: '2012-10-17', Statement: [statement({ Condition: { Null: { acl: true } } })] }),
      ),
      fc.nat(300),
      fc.nat(3),
      fc.string({ maxLength: 3 }),
    )
    .map(([text, at, gone, instead]) => text.slice(0, at) + instead + text.slice(at + gone))
  const documents = fc.record(
    {
      Version: fc.constant('2012-10-17'),
      Statement: fc.record(
        {
          Effect: fc.constant('Allow'),
          Principal: fc.oneof(fc.constant('*'), json.value),
          Action: fc.constant('*'),
          Resource: fc.constant('bucket/*'),
          Condition: fc.oneof(
            json.object,
            fc.dictionary(fc.constantFrom('StringLike', 'IpAddress', 'DateEquals', 'ArnLike', 'Null'), json.object),
          ),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: ['Statement'] },
  )
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    mutated,
    json.value.map(value => JSON.stringify(value)),
    documents.map(value => JSON.stringify(value)),
  )

  fc.assert(
    fc.property(texts, text => void refusal(() => ask(parsePolicy(text, { bucket })))),
    { numRuns: 600 },
  )
  fc.assert(
    fc.property(texts, text => {
      let mine: Json
      try {
        mine = parseJson(text)
      } catch (error) {
        if (!(error instanceof SseError)) throw error
        // What is refused beyond JSON itself are depth, repeated names and long strings.
        if (!/nested too deeply|stands twice|too long/.test(error.message))
          assert.throws(() => JSON.parse(text), SyntaxError)
        return
      }
      assert.deepEqual(toPlain(mine), JSON.parse(text))
    }),
    { numRuns: 600 },
  )
})

t.test('random policies', async t => {
  const oneOrMore = (values: readonly string[]): fc.Arbitrary<string | string[]> =>
    fc.oneof(fc.constantFrom(...values), fc.subarray([...values], { minLength: 1 }))
  const principal = fc.oneof(
    fc.constant('*'),
    oneOrMore([tenant, 'other', `arn:aws:iam::${tenant}:user/alice`]).map(AWS => ({ AWS })),
    oneOrMore([`domain/${tenant}:user/bob`, 'domain/other:user/*']).map(ID => ({ ID })),
  )
  const action = oneOrMore(['s3:*', 'GetObject', 's3:Put*', '*Object'])
  const resource = oneOrMore([`${bucketArn}/*`, 'bucket*', 'bucket/a?', `${bucketArn}/*z`])
  const condition = fc.constantFrom(
    {},
    { StringNotEquals: { 's3:x-amz-server-side-encryption': 'aws:kms' } },
    { Null: { 'x-obs-server-side-encryption': 'true' } },
    { NotIpAddress: { SourceIp: '10.0.0.0/8' } },
    { BoolIfExists: { 'aws:SecureTransport': 'false' } },
  )
  const not = (name: string, negated: boolean): string => (negated ? `Not${name}` : name)
  const statementOf = (effects: fc.Arbitrary<string>): fc.Arbitrary<object> =>
    fc
      .tuple(effects, principal, action, resource, condition, fc.boolean(), fc.boolean(), fc.boolean())
      .map(([Effect, who, what, which, Condition, a, b, c]) => ({
        Effect,
        [not('Principal', a && Effect === 'Deny')]: who,
        [not('Action', b)]: what,
        [not('Resource', c)]: which,
        Condition,
      }))
  const statements = fc.array(statementOf(fc.constantFrom('Allow', 'Deny')), { minLength: 1, maxLength: 5 })
  const request: fc.Arbitrary<Ask> = fc.record({
    principal: fc.constantFrom(alice, bob, stranger, nobody),
    action: fc.constantFrom('s3:GetObject', 's3:PutObject', 's3:DeleteObject'),
    resource: fc.constantFrom(`${bucketArn}/ab`, `${bucketArn}/xyz`, `${bucketArn}/`),
    headers: fc.constantFrom(
      {},
      { 'x-amz-server-side-encryption': 'aws:kms' },
      { 'x-obs-server-side-encryption': 'AES256' },
    ),
    facts: fc.record({ secure: fc.boolean(), sourceIp: fc.constantFrom('10.1.1.1', '11.1.1.1', undefined) }),
  })
  const decided = (list: readonly object[], asked: Ask): PolicyDecision => ask(parse({ Statement: list }), asked)
  const seen = new Set<string>()

  fc.assert(
    fc.property(
      statements,
      statementOf(fc.constant('Deny')),
      statementOf(fc.constant('Allow')),
      request,
      (list, deny, allow, asked) => {
        const before = decided(list, asked)
        const denied = decided([...list, deny], asked)
        const allowed = decided([allow, ...list], asked)
        seen.add(`${before} ${denied} ${allowed}`)
        assert.ok(denied === before || denied === 'deny', 'a Deny only takes away')
        assert.ok(allowed === before || (before === 'none' && allowed === 'allow'), 'an Allow never lifts a deny')
        assert.equal(decided(list.toReversed(), asked), before, 'the order does not matter')
      },
    ),
    { numRuns: 600 },
  )
  for (const row of ['allow deny allow', 'none deny none', 'none none allow', 'deny deny deny', 'allow allow allow'])
    t.ok(seen.has(row), `the sample has ${row}`)
})

t.test('what does not hang on the resource is looked at once for all of them', t => {
  const parsed = policy({ Condition: { StringLike: { 'aws:Referer': '*a*a*' } }, Resource: [`${bucketArn}/a*`] })
  let looked = 0
  const values = (key: string) => {
    looked++
    return key === 'aws:referer' ? ['banana'] : undefined
  }
  const { of, mayAllow } = ruling(parsed, { principal: alice, action: 's3:GetObject', values })
  t.equal(mayAllow, true)
  const decisions = Array.from({ length: 1000 }, (_, i) => of(`${bucketArn}/${i % 2 === 0 ? 'a' : 'b'}${i}`))
  t.same([...new Set(decisions)], ['allow', 'none'])
  t.equal(looked, 1)
  const never = { principal: alice, action: 's3:PutObject', values }
  t.equal(ruling(parsed, never).mayAllow, false)
  t.equal(ruling(policy({ Effect: 'Deny' }), { ...never, action: 's3:GetObject' }).mayAllow, false)
  t.equal(ruling(undefined, never).of(`${bucketArn}/a`), 'none')
  t.end()
})

t.test('a value that is too long is refused', t => {
  const values = valuesOf({ headers: { 'x-amz-acl': 'a'.repeat(16_385) } })
  t.throws(() => values('s3:x-amz-acl'), { code: 'InvalidArgument' })
  t.equal(values('s3:prefix'), undefined)
  t.end()
})

t.test('what is public, as S3 documents it', t => {
  const ranges = (...values: readonly string[]) => ({ Condition: { IpAddress: { 'aws:SourceIp': values } } })
  const rows: readonly (readonly [what: string, elements: object, isPublic: boolean])[] = [
    ['everyone', {}, true],
    ['everyone, as AWS', { Principal: { AWS: '*' } }, true],
    ['everyone, as ID', { Principal: { ID: ['*'] } }, true],
    ['everyone among others', { Principal: { AWS: [tenant, '*'] } }, true],
    ['a tenant', { Principal: { AWS: tenant } }, false],
    ['a user', { Principal: { ID: `domain/${tenant}:user/alice` } }, false],
    ['nobody but by a Deny', { Effect: 'Deny' }, false],
    ['a Deny of all others', { Effect: 'Deny', Principal: undefined, NotPrincipal: { AWS: tenant } }, false],
    ['writing', { Action: 's3:PutObject' }, true],
    ['one address', ranges('192.0.2.1'), false],
    ['addresses', ranges('192.0.2.0/24', '10.0.0.0/8', '2001:db8::/32'), false],
    ['a broad range', ranges('0.0.0.0/1'), true],
    ['a range of /7', ranges('10.0.0.0/7'), true],
    ['a broad range of IPv6', ranges('2001:d00::/31'), true],
    ['a broad range among others', ranges('192.0.2.1', '0.0.0.0/0'), true],
    ['an address as text', { Condition: { StringEquals: { 'aws:SourceIp': '192.0.2.1' } } }, false],
    ['a pattern of addresses', { Condition: { StringLike: { 'aws:SourceIp': '192.*' } } }, true],
    ['any of the addresses', { Condition: { 'ForAnyValue:IpAddress': { 'aws:SourceIp': '192.0.2.1' } } }, false],
    ['all of none', { Condition: { 'ForAllValues:IpAddress': { 'aws:SourceIp': '192.0.2.1' } } }, true],
    ['an address, or none', { Condition: { IpAddressIfExists: { 'aws:SourceIp': '192.0.2.1' } } }, true],
    ['all but an address', { Condition: { NotIpAddress: { 'aws:SourceIp': '192.0.2.1' } } }, true],
    ['no address', { Condition: { Null: { 'aws:SourceIp': 'false' } } }, true],
    ['another key', { Condition: { StringEquals: { 'aws:Referer': 'https://example.com' } } }, true],
    ['TLS', { Condition: { Bool: { 'aws:SecureTransport': 'true' } } }, true],
    [
      'TLS from an address',
      { Condition: { Bool: { 'aws:SecureTransport': 'true' }, ...ranges('192.0.2.1').Condition } },
      false,
    ],
  ]
  for (const [what, elements, isPublic] of rows) t.equal(policy(elements).isPublic, isPublic, what)
  const statements = (...all: readonly object[]) => parse({ Version: '2012-10-17', Statement: all }).isPublic
  t.equal(statements(statement({ Principal: { AWS: tenant } }), statement()), true, 'one statement does')
  t.equal(statements(statement(), statement({ Effect: 'Deny' })), true, 'and no Deny takes it back')
  t.end()
})

t.test('keys about tags', t => {
  const existing = 's3:ExistingObjectTag/Team'
  for (const name of [existing, 's3:RequestObjectTag/a b/c', 's3:RequestObjectTagKeys']) {
    t.equal(conditionKey(name), name.toLowerCase())
  }
  for (const name of [
    's3:ExistingObjectTag/',
    's3:ExistingObjectTag',
    's3:ExistingObjectTagKeys',
    's3:RequestObjectTag',
  ]) {
    t.equal(conditionKey(name), undefined, name)
  }
  const facts = {
    existingTags: [
      ['team', 'red'],
      ['TEAM', 'blue'],
      ['a', 'b'],
    ],
    requestTags: () =>
      [
        ['x', '1'],
        ['y', '2'],
      ] as const,
  } as const
  const values = valuesOf({ facts })
  t.strictSame(values('s3:existingobjecttag/team'), ['red', 'blue'], 'in any case, as everywhere in keys')
  t.strictSame(values('s3:existingobjecttag/none'), [])
  t.strictSame(values('s3:requestobjecttag/y'), ['2'])
  t.strictSame(values('s3:requestobjecttagkeys'), ['x', 'y'])
  t.equal(valuesOf({})('s3:requestobjecttagkeys'), undefined)

  const action = 's3:GetObject'
  const rows = (Effect: string) =>
    policy({ Effect, Action: 's3:*', Condition: { StringEquals: { [existing]: 'blue' } } })
  const whenUnknown = { facts: { existingTags: 'unknown' } } as const
  t.equal(ask(rows('Allow'), { action, facts }), 'allow')
  t.equal(ask(rows('Allow'), { action, facts: { existingTags: [] } }), 'none')
  t.equal(ask(rows('Allow'), { action }), 'none')
  t.equal(ask(rows('Deny'), { action, facts }), 'deny')
  t.equal(ask(rows('Allow'), { action, ...whenUnknown }), 'allow', 'to be asked again')
  t.equal(ask(rows('Deny'), { action, ...whenUnknown }), 'none', 'to be asked again')
  t.equal(ask(rows('Deny'), { action: 's3:DeleteObject', facts }), 'none', 'no key of this action')
  t.equal(ask(rows('Allow'), { action: 's3:PutObject', ...whenUnknown }), 'none')
  const open = (given: Policy, action: string) =>
    ruling(given, { principal: alice, action, values: valuesOf(whenUnknown) }).isOpen
  t.strictSame(
    ['s3:GetObject', 's3:PutObject'].map(action => open(rows('Deny'), action)),
    [true, false],
  )
  t.equal(open(policy(), 's3:GetObject'), false)

  const message = (elements: object) => refusal(() => policy(elements))
  t.equal(
    message({ Action: ['s3:GetObject', 's3:DeleteObject'], Condition: { StringEquals: { [existing]: 'x' } } }),
    'Statement.Action[1]: there is no "s3:existingobjecttag/team" for "s3:DeleteObject". Take the action or the condition out of the statement.',
  )
  t.match(message({ Action: 's3:PutObject', Condition: { Null: { [existing]: 'true' } } }), /^Statement\.Action: /)
  t.match(message({ Condition: { Null: { 's3:RequestObjectTagKeys': 'true' } } }), /^Statement\.Action: /)
  t.end()
})
