/** Rights to master keys: what a grant gives to whom, what a tenant with grants refuses, and how it is said. */
import t from 'tap'
import { SseError } from '../../lib/errors.ts'
import {
  type Access,
  assertKeyRight,
  assertSomeKeyRight,
  authorizeRead,
  authorizeWrite,
  needsAliases,
} from '../../lib/sse/authorize.ts'
import { type KeyGrant, type KeyRight, readKeyGrants } from '../../lib/sse/grants.ts'
import { createProfile, tenantAdmin } from '../../lib/sse/profile.ts'

const region = 'sichuan'
const owner = { domainId: 'domain1', projectId: 'project1' }
const id = '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const otherId = '00000000-ab64-4807-920a-47fc42e7f0d0'
const arn = `arn:aws:kms:${region}:domain1:key/${id}`
const key = { keyId: 'vault:transit/k', arn, aliases: ['photos'] }
const other = { keyId: `arn:aws:kms:${region}:domain1:key/${otherId}`, aliases: [] }

const access = (grants: readonly Omit<KeyGrant, 'domainId'>[], caller: object = {}): Access => ({
  profile: createProfile('s3', { region }),
  owner,
  grants: readKeyGrants(
    grants.map(grant => ({ domainId: 'domain1', ...grant })),
    region,
  ),
  requester: {
    kind: 'signed',
    signature: 'v4',
    caller: { ...owner, name: 'bob', accessKeyId: 'AKBOB', roles: [], ...caller },
  },
})

const may = (asks: Access, right: KeyRight, of: typeof key | typeof other = key): boolean => {
  try {
    assertKeyRight(asks, right, of)
    return true
  } catch (error) {
    if (error instanceof SseError && error.code === 'KeyAccessDenied') return false
    throw error
  }
}

const all: readonly KeyRight[] = [
  'kms:GenerateDataKey',
  'kms:Decrypt',
  'kms:ReEncryptFrom',
  'kms:ReEncryptTo',
  'kms:DescribeKey',
]

t.test('a grant gives its own rights and no other', async t => {
  for (const right of all) {
    const asks = access([{ users: ['AKBOB'], rights: [right] }])
    for (const asked of all) t.equal(may(asks, asked), asked === right, `${right} granted, ${asked} asked`)
  }
  const both = access([{ users: ['AKBOB'], rights: ['kms:ReEncrypt*'] }])
  t.strictSame(
    all.filter(right => may(both, right)),
    ['kms:ReEncryptFrom', 'kms:ReEncryptTo'],
  )
  const several = access([
    { users: ['AKBOB'], rights: ['kms:Decrypt'] },
    { users: ['AKBOB'], keys: [id], rights: ['kms:GenerateDataKey'] },
  ])
  t.strictSame(
    all.filter(right => may(several, right)),
    ['kms:GenerateDataKey', 'kms:Decrypt'],
    'grants add up',
  )
})

t.test('users by access key id, roles, and nobody else', async t => {
  const rights = ['kms:Decrypt'] as const
  t.notOk(may(access([{ users: ['bob'], rights }]), 'kms:Decrypt'), 'a name is not unique')
  t.notOk(may(access([{ users: ['AKBOB'], rights }], { accessKeyId: undefined }), 'kms:Decrypt'))
  t.notOk(may(access([{ users: ['AKANN'], rights }]), 'kms:Decrypt'))
  t.notOk(may(access([{ rights }]), 'kms:Decrypt'), 'a grant for nobody')
  const roles = [tenantAdmin]
  t.ok(may(access([{ roles, rights }], { roles }), 'kms:Decrypt'))
  t.notOk(may(access([{ roles, rights }]), 'kms:Decrypt'))
  t.notOk(may(access([{ users: ['AKANN'], rights }], { roles }), 'kms:Decrypt'), 'a role alone is no right')
  t.notOk(may(access([{ roles, rights }], { roles, domainId: 'domain2' }), 'kms:Decrypt'), "another tenant's role")
  const unsigned: Access = { ...access([{ roles, rights }]), requester: { kind: 'anonymous' } }
  t.notOk(may(unsigned, 'kms:Decrypt'))
})

t.test('keys by ARN, id, short form of OBS and alias; all without names', async t => {
  const rights = ['kms:Decrypt'] as const
  for (const name of [
    arn,
    id,
    `${region}:domain1:key/${id}`,
    'alias/photos',
    `${arn.slice(0, arn.indexOf('key/'))}alias/photos`,
  ]) {
    const asks = access([{ users: ['AKBOB'], keys: [name], rights }])
    t.ok(may(asks, 'kms:Decrypt'), name)
    t.notOk(may(asks, 'kms:Decrypt', other), `${name}: the key that it does not name`)
  }
  const every = access([{ users: ['AKBOB'], rights }])
  t.ok(may(every, 'kms:Decrypt') && may(every, 'kms:Decrypt', other))
  t.notOk(may(access([{ users: ['AKBOB'], keys: [], rights }]), 'kms:Decrypt'), 'an empty list names none')

  const byAlias = access([{ users: ['AKBOB'], keys: ['alias/photos'], rights }])
  t.ok(needsAliases(byAlias, 'kms:Decrypt', key))
  t.notOk(needsAliases(byAlias, 'kms:GenerateDataKey', key), 'no alias gives that right')
  t.notOk(needsAliases(every, 'kms:Decrypt', key))
  t.notOk(needsAliases(access([]), 'kms:Decrypt', key))
})

t.test('grants that are none', async t => {
  const read = (name: string) =>
    readKeyGrants([{ domainId: 'domain1', keys: [name], users: ['AKBOB'], rights: [] }], region)
  t.throws(() => read('photos'), { code: 'InvalidKeyId' })
  for (const name of [arn.replace('domain1', 'domain2'), arn.replace(region, 'beijing')]) {
    t.throws(() => read(name), { code: 'InvalidConfig', message: /is no key of tenant domain1 in sichuan/ }, name)
  }
})

t.test('a tenant with grants is judged by them, one without by the role', async t => {
  const obs = createProfile('obs', { region })
  const request = { kind: 'sse-kms', dialect: 's3' } as const
  const granted = { ...access([{ users: ['AKBOB'], rights: ['kms:Decrypt'] }]), profile: obs }
  const admin = { ...access([{ users: ['AKANN'], rights: ['kms:Decrypt'] }], { roles: [tenantAdmin] }), profile: obs }
  t.doesNotThrow(() => authorizeRead(granted, 'sse-kms'), 'the role is not asked for')
  t.doesNotThrow(() => authorizeWrite({ ...granted, request }))
  t.throws(() => assertKeyRight(admin, 'kms:Decrypt', key), { code: 'KeyAccessDenied' }, 'and gives nothing')
  t.throws(() => assertSomeKeyRight(granted, 'kms:GenerateDataKey'), {
    code: 'KeyAccessDenied',
    message: /perform: kms:GenerateDataKey on resource: the default key/,
  })
  t.doesNotThrow(() => assertSomeKeyRight(granted, 'kms:Decrypt'))

  const others = { ...granted, owner: { domainId: 'domain2', projectId: 'project2' } }
  t.throws(() => authorizeRead(others, 'sse-kms'), { code: 'AccessDenied', message: /tenant_admin role/ })
  const without = { ...access([]), profile: obs }
  t.throws(() => authorizeRead(without, 'sse-kms'), { code: 'AccessDenied', message: /tenant_admin role/ })
  t.doesNotThrow(() => assertKeyRight(without, 'kms:Decrypt', key), 'no grants decide nothing')
  t.doesNotThrow(() => assertSomeKeyRight(without, 'kms:Decrypt'))
})

t.test('a refusal says who may not do what with which key, by its ARN', async t => {
  const asks = access([{ users: ['AKANN'], rights: ['kms:Decrypt'] }])
  const message =
    `User: bob is not authorized to perform: kms:Decrypt on resource: ${arn} because no grant allows the ` +
    'kms:Decrypt action. Ask the operator for a grant.'
  t.throws(() => assertKeyRight(asks, 'kms:Decrypt', key), {
    code: 'KeyAccessDenied',
    status: 403,
    s3Code: 'AccessDenied',
    message,
    s3Message: message,
  })
})
