// Every operation with every combination of encryption headers, in both profiles, over HTTP. What is expected stands in the tables below; the
// requests are made from them. Each table is to be read beside semantics, sections 1 and 2.
import aws4 from 'aws4'
import t, { type Test } from 'tap'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { actions } from '../../lib/gateway/actions/index.ts'
import type { GatewayUser } from '../../lib/gateway/options.ts'
import { signingKeyOf, signV4 } from '../../lib/gateway/auth/v4.ts'
import type { LocalKms } from '../../lib/kms/local/local.ts'
import { createProfile, type Profile } from '../../lib/sse/profile.ts'
import {
  admin,
  ordinary,
  region,
  type Reply,
  startGateway,
  stranger,
  strangersUser,
  type TestGateway,
} from '../support/gateway.ts'

type Headers = Readonly<Record<string, string>>

// --- What a cell says

/** Errors, by the letter that a cell has: status and code. The message is never empty. */
const errors = {
  A: [400, 'InvalidArgument'],
  D: [400, 'KMS.DisabledException'],
  E: [400, 'InvalidEncryptionAlgorithmError'],
  F: [403, 'AccessDenied'],
  K: [400, 'KMS.NotFoundException'],
  N: [501, 'NotImplemented'],
  R: [400, 'InvalidRequest'],
  X: [400, 'KMS.KMSInvalidStateException'],
} as const
// Everything else is a success, and says what is answered: `kms` SSE-KMS and the full ARN of its key, `aes` SSE-S3, `sse-c` the MD5 of the
// customer's key, `none` no header of encryption, `ok` whatever the object or upload has.

// --- The tables

/**
 * Headers of SSE-KMS and SSE-S3. They belong to PUT, POST, Copy (its target) and Initiate, which answer as the table says; anywhere else each
 * of these rows is A. Copy from an SSE-C object without its key is R where the row would have let it through.
 */
const managed = `
row                                      | s3   | obs
x-amz: aws:kms                           | kms  | kms
x-amz: AES256                            | aes  | aes
x-amz: kms                               | A    | A
x-amz: aes:kms                           | A    | A
x-amz: AES128                            | A    | A
x-amz: (empty)                           | A    | A
x-amz: aws:kms:dsse                      | N    | N
x-amz: aws:kms:dsse, key id              | N    | N
x-obs: kms                               | kms  | kms
x-obs: AES256                            | aes  | aes
x-obs: aws:kms                           | A    | A
x-obs: obs                               | A    | A
x-obs: kms, data AES256                  | kms  | kms
x-obs: AES256, data AES256               | aes  | aes
x-obs: data AES256                       | A    | A
x-obs: kms, data SM4                     | N    | N
x-obs: AES256, data SM4                  | N    | N
x-obs: data SM4                          | N    | N
x-obs: kms, data DES                     | A    | A
x-amz and x-obs                          | A    | A
x-amz: kms, x-obs: key id                | A    | A
key id                                   | A    | A
key id with AES256                       | A    | A
x-obs: key id                            | A    | A
x-obs: key id with AES256                | A    | A
key id (empty)                           | A    | A
default key: id                          | kms  | kms
default key: ARN                         | kms  | kms
default key: x-obs, id                   | kms  | kms
default key: x-obs, ARN                  | kms  | kms
default key: x-obs, REGION:DOMAIN:key/ID | kms  | kms
customer-made key: id                    | kms  | F
customer-made key: ARN                   | kms  | F
customer-made key: x-obs, id             | kms  | F
customer-made key: alias                 | kms  | K
customer-made key: ARN of its alias      | kms  | K
unknown alias                            | K    | K
disabled key                             | D    | F
key pending deletion                     | X    | F
key of another region                    | K    | K
key of another region: x-obs, short form | K    | K
key of another tenant: ARN               | F    | F
key of another tenant: x-obs, short form | F    | F
key of another tenant: id                | K    | K
malformed key id                         | K    | K
malformed key id: upper case             | K    | K
malformed key id: two                    | K    | K
malformed key id: x-obs                  | K    | K
unknown key id                           | K    | K
unknown key id: ARN                      | K    | K
unknown key id: mrk                      | K    | K
context                                  | kms  | A
context, empty map                       | kms  | A
context with the right aws:s3:arn        | kms  | A
context with a wrong aws:s3:arn          | A    | A
context with another aws: name           | A    | A
context: (empty)                         | A    | A
context: not base64                      | A    | A
context: not JSON                        | A    | A
context: a list                          | A    | A
context: a number in it                  | A    | A
context alone                            | A    | A
context with AES256                      | A    | A
bucket key: true                         | kms  | kms
bucket key: false                        | kms  | kms
bucket key: yes                          | A    | A
bucket key: (empty)                      | A    | A
bucket key alone                         | A    | A
bucket key with AES256                   | A    | A
project: own                             | kms  | kms
project: another                         | A    | A
project: two                             | A    | A
project: (empty)                         | A    | A
project alone                            | A    | A
project with AES256                      | A    | A
project: x-obs, own                      | kms  | kms
project: x-obs, another                  | A    | A
SSE-C with aws:kms                       | A    | A
SSE-C with AES256                        | A    | A
SSE-C with a key id                      | A    | A
x-obs: SSE-C with kms                    | A    | A
x-obs: SSE-C with aws:kms of x-amz       | A    | A
`

/**
 * No header, and a customer's key: the same in both profiles, but that a write without any header gets `none` in obs and `aes` in s3 (`base`).
 *
 * - write: PUT, POST, Initiate; copy: of an object without SSE-C; copy C: of an object with SSE-C (key 1).
 * - read, read K, read C: GET, HEAD, attributes of an object without encryption or with SSE-S3, with SSE-KMS, with SSE-C (key 1).
 * - list: of objects, versions, uploads.
 * - part: UploadPart, Complete, ListParts of an upload without SSE-C; part C: UploadPart of one with SSE-C (key 1); done C: its Complete and
 *   ListParts; from, from C: UploadPartCopy into an upload without SSE-C, from an object without or with SSE-C.
 */
const customers = `
row                               | write | copy  | copy C | read | read K | read C | list | part | part C | done C | from | from C
nothing                           | base  | base  | R      | ok   | ok     | R      | ok   | ok   | R      | ok     | ok   | R
SSE-C                             | sse-c | sse-c | R      | R    | R      | sse-c  | ok   | R    | ok     | ok     | R    | R
SSE-C: x-obs                      | sse-c | sse-c | R      | R    | R      | sse-c  | ok   | R    | ok     | ok     | R    | R
SSE-C: key 2                      | sse-c | sse-c | R      | R    | R      | F      | ok   | R    | R      | R      | R    | R
SSE-C: no algorithm               | A     | A     | A      | A    | A      | A      | ok   | A    | A      | A      | A    | A
SSE-C: algorithm AES128           | E     | E     | E      | E    | E      | E      | ok   | E    | E      | E      | E    | E
SSE-C: no key                     | A     | A     | A      | A    | A      | A      | ok   | A    | A      | A      | A    | A
SSE-C: key (empty)                | A     | A     | A      | A    | A      | A      | ok   | A    | A      | A      | A    | A
SSE-C: no MD5                     | A     | A     | A      | F    | F      | F      | ok   | A    | A      | A      | A    | A
SSE-C: wrong MD5                  | A     | A     | A      | A    | A      | A      | ok   | A    | A      | A      | A    | A
SSE-C: key of 16 bytes            | A     | A     | A      | F    | F      | F      | ok   | A    | A      | A      | A    | A
SSE-C: key not base64             | A     | A     | A      | F    | F      | F      | ok   | A    | A      | A      | A    | A
SSE-C: both families              | A     | A     | A      | A    | A      | A      | ok   | A    | A      | A      | A    | A
copy source SSE-C                 | base  | R     | base   | ok   | ok     | R      | ok   | ok   | R      | ok     | R    | ok
copy source SSE-C: x-obs          | base  | R     | base   | ok   | ok     | R      | ok   | ok   | R      | ok     | R    | ok
copy source SSE-C: key 2          | base  | R     | F      | ok   | ok     | R      | ok   | ok   | R      | ok     | R    | F
copy source SSE-C: no algorithm   | base  | A     | A      | ok   | ok     | R      | ok   | ok   | R      | ok     | A    | A
copy source SSE-C: AES128         | base  | E     | E      | ok   | ok     | R      | ok   | ok   | R      | ok     | E    | E
copy source SSE-C: no key         | base  | A     | A      | ok   | ok     | R      | ok   | ok   | R      | ok     | A    | A
copy source SSE-C: no MD5         | base  | F     | F      | ok   | ok     | R      | ok   | ok   | R      | ok     | F    | F
copy source SSE-C: wrong MD5      | base  | A     | A      | ok   | ok     | R      | ok   | ok   | R      | ok     | A    | A
copy source SSE-C: key of 16      | base  | F     | F      | ok   | ok     | R      | ok   | ok   | R      | ok     | F    | F
copy source SSE-C and SSE-C       | sse-c | R     | sse-c  | R    | R      | sse-c  | ok   | R    | ok     | ok     | R    | R
`

/** Who: SSE-KMS in a bucket whose policy lets everybody do everything. `plain` says what the same request gets without SSE-KMS. */
const who = `
who                         | s3  | obs | plain
tenant_admin                | ok  | ok  | ok
ordinary user               | ok  | F   | ok
tenant_admin, another tenant| F   | F   | ok
ordinary, another tenant    | F   | F   | ok
nobody                      | A   | F   | ok
tenant_admin, Signature V2  | A   | ok  | ok
tenant_admin, OBS signature | A   | ok  | ok
ordinary user, Signature V2 | A   | F   | ok
`

/** Options, where they change a cell of the tables above. */
const options = `
profile and option       | operation | row                           | answer
obs customerKeys         | write     | customer-made key: id         | kms
obs customerKeys         | write     | customer-made key: x-obs, id  | kms
obs customerKeys         | write     | customer-made key: alias      | K
obs customerKeys         | write     | disabled key                  | D
obs customerKeys         | write     | key pending deletion          | X
obs customerKeys         | write     | key of another tenant: ARN    | F
obs customerKeys         | write     | default key: ARN              | kms
s3 no customerKeys       | write     | customer-made key: id         | F
s3 no customerKeys       | write     | customer-made key: alias      | F
s3 no customerKeys       | write     | disabled key                  | F
s3 no customerKeys       | write     | default key: ARN              | kms
s3 baseEncryption none   | write     | nothing                       | none
s3 baseEncryption none   | write     | x-amz: AES256                 | aes
obs baseEncryption sse-s3| write     | nothing                       | aes
obs baseEncryption sse-s3| write     | x-amz: aws:kms                | kms
obs lenientParts         | part      | x-amz: aws:kms                | ok
obs lenientParts         | part      | x-amz: aes:kms                | ok
obs lenientParts         | part      | x-obs: kms                    | ok
obs lenientParts         | part      | malformed key id              | ok
obs lenientParts         | part      | SSE-C with aws:kms            | R
obs lenientParts         | part C    | x-amz: aws:kms                | R
obs lenientParts         | part C    | SSE-C with aws:kms            | ok
obs lenientParts         | done C    | x-amz: aws:kms                | ok
obs lenientParts         | done C    | SSE-C with aws:kms            | ok
obs lenientParts         | from      | x-amz: aws:kms                | ok
obs lenientParts         | read      | x-amz: aws:kms                | A
obs lenientParts         | list      | x-amz: aws:kms                | A
s3 lenientParts          | part      | x-amz: AES256                 | ok
s3 lenientParts          | part      | context                       | ok
`

/** The default of a bucket, and what a write then gets. */
const defaults = `
default of the bucket | row                  | s3   | obs
AES256                | nothing              | aes  | aes
AES256                | x-amz: aws:kms       | kms  | kms
AES256                | SSE-C                | sse-c| sse-c
aws:kms               | nothing              | kms  | kms
aws:kms               | x-amz: AES256        | aes  | aes
aws:kms               | SSE-C                | sse-c| sse-c
aws:kms               | key id               | A    | A
aws:kms               | bucket key alone     | A    | A
aws:kms customer-made | nothing              | kms  | F
aws:kms customer-made | x-amz: aws:kms       | kms  | kms
aws:kms disabled      | nothing              | D    | F
aws:kms disabled      | x-amz: AES256        | aes  | aes
aws:kms unknown       | nothing              | K    | K
aws:kms another tenant| nothing              | F    | F
aws:kms pending       | nothing              | X    | F
`

/** The default key itself disabled and enabled again: new objects and old ones alike. It cannot be deleted. */
const states = `
state    | write | read K | copy K | part K
enabled  | kms   | ok     | aes    | ok
disabled | D     | D      | D      | D
enabled  | kms   | ok     | aes    | ok
`

type Row = Readonly<Record<string, string>>
/** The rows of a table, by the names of its columns. */
const rowsOf = (table: string): readonly Row[] => {
  const [head = [], ...lines] = table
    .trim()
    .split('\n')
    .map(line => line.split('|').map(cell => cell.trim()))
  return lines.map(cells => {
    if (cells.length !== head.length) throw new Error(cells.join(' | '))
    return Object.fromEntries(cells.map((cell, i) => [head[i] ?? '', cell]))
  })
}
const cell = (row: Row, name: string): string => {
  const value = row[name]
  if (value === undefined) throw new Error(`no column ${name}`)
  return value
}

// --- The headers that the rows stand for

const S = 'x-amz-server-side-encryption'
const K = 'x-amz-server-side-encryption-aws-kms-key-id'
const C = 'x-amz-server-side-encryption-context'
const B = 'x-amz-server-side-encryption-bucket-key-enabled'
const P = 'x-amz-sse-kms-key-project-id'
const OS = 'x-obs-server-side-encryption'
const OK = 'x-obs-server-side-encryption-kms-key-id'
const OP = 'x-obs-sse-kms-key-project-id'
const OD = 'x-obs-server-side-data-encryption'

const base64 = (text: string): string => Buffer.from(text).toString('base64')
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('base64')
const keyed = (key: Uint8Array, prefix = 'x-amz-'): Headers => ({
  [`${prefix}server-side-encryption-customer-algorithm`]: 'AES256',
  [`${prefix}server-side-encryption-customer-key`]: Buffer.from(key).toString('base64'),
  [`${prefix}server-side-encryption-customer-key-md5`]: md5(key),
})
const [key1, key2] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
/** A customer's key with one of its headers changed, or left out. */
const broken = (prefix: string, name: 'algorithm' | 'key' | 'key-md5', value?: string): Headers => {
  const { [`${prefix}server-side-encryption-customer-${name}`]: _old, ...rest } = keyed(key1, prefix)
  return value === undefined ? rest : { ...rest, [`${prefix}server-side-encryption-customer-${name}`]: value }
}

/** Keys that rows name. */
interface Keys {
  readonly [name: string]: string
}

const makeKeys = async (kms: LocalKms): Promise<Keys> => {
  const home = { region, domainId: admin.domainId }
  const own = await kms.defaultKey(home)
  const made = await kms.createKey({ ...home, alias: 'mine' })
  const disabled = await kms.createKey(home)
  await kms.disableKey({ keyId: disabled.keyId })
  const pending = await kms.createKey(home)
  await kms.scheduleDeletion({ keyId: pending.keyId })
  const strange = await kms.defaultKey({ region, domainId: stranger.domainId })
  return {
    own: own.keyId,
    made: made.keyId,
    disabled: disabled.keyId,
    pending: pending.keyId,
    strange: strange.keyId,
  }
}

const uuid = '4f1cd4de-ab64-4807-920a-47fc42e7f0d0'
const idOf = (arn = ''): string => arn.replace(/^.*key\//, '')
const shortOf = (arn = ''): string => arn.replace('arn:aws:kms:', '')

/** The headers of a row, for the object at an ARN. */
const headersOf = (
  { own = '', made = '', disabled = '', pending = '', strange = '' }: Keys,
  arn: string,
): Readonly<Record<string, Headers>> => {
  const kms = { [S]: 'aws:kms' }
  const aes = { [S]: 'AES256' }
  const obs = { [OS]: 'kms' }
  const named = (id: string) => ({ ...kms, [K]: id })
  const obsNamed = (id: string) => ({ ...obs, [OK]: id })
  const context = (value: unknown) => ({ ...kms, [C]: base64(JSON.stringify(value)) })
  const foreign = own.replace(`:${region}:`, ':us-west-2:')
  const source = 'x-amz-copy-source-'
  return {
    nothing: {},
    'x-amz: aws:kms': kms,
    'x-amz: AES256': aes,
    'x-amz: kms': { [S]: 'kms' },
    'x-amz: aes:kms': { [S]: 'aes:kms' },
    'x-amz: AES128': { [S]: 'AES128' },
    'x-amz: (empty)': { [S]: '' },
    'x-amz: aws:kms:dsse': { [S]: 'aws:kms:dsse' },
    'x-amz: aws:kms:dsse, key id': { [S]: 'aws:kms:dsse', [K]: own },
    'x-obs: kms': obs,
    'x-obs: AES256': { [OS]: 'AES256' },
    'x-obs: aws:kms': { [OS]: 'aws:kms' },
    'x-obs: obs': { [OS]: 'obs' },
    'x-obs: kms, data AES256': { ...obs, [OD]: 'AES256' },
    'x-obs: AES256, data AES256': { [OS]: 'AES256', [OD]: 'AES256' },
    'x-obs: data AES256': { [OD]: 'AES256' },
    'x-obs: kms, data SM4': { ...obs, [OD]: 'SM4' },
    'x-obs: AES256, data SM4': { [OS]: 'AES256', [OD]: 'SM4' },
    'x-obs: data SM4': { [OD]: 'SM4' },
    'x-obs: kms, data DES': { ...obs, [OD]: 'DES' },
    'x-amz and x-obs': { ...kms, ...obs },
    'x-amz: kms, x-obs: key id': { ...kms, [OK]: own },
    'key id': { [K]: own },
    'key id with AES256': { ...aes, [K]: own },
    'x-obs: key id': { [OK]: own },
    'x-obs: key id with AES256': { [OS]: 'AES256', [OK]: own },
    'key id (empty)': named(''),
    'default key: id': named(idOf(own)),
    'default key: ARN': named(own),
    'default key: x-obs, id': obsNamed(idOf(own)),
    'default key: x-obs, ARN': obsNamed(own),
    'default key: x-obs, REGION:DOMAIN:key/ID': obsNamed(shortOf(own)),
    'customer-made key: id': named(idOf(made)),
    'customer-made key: ARN': named(made),
    'customer-made key: x-obs, id': obsNamed(idOf(made)),
    'customer-made key: alias': named('alias/mine'),
    'customer-made key: ARN of its alias': named(made.replace(/key\/.*/, 'alias/mine')),
    'unknown alias': named('alias/other'),
    'disabled key': named(disabled),
    'key pending deletion': named(pending),
    'key of another region': named(foreign),
    'key of another region: x-obs, short form': obsNamed(shortOf(foreign)),
    'key of another tenant: ARN': named(strange),
    'key of another tenant: x-obs, short form': obsNamed(shortOf(strange)),
    'key of another tenant: id': named(idOf(strange)),
    'malformed key id': named('fake-key-id'),
    'malformed key id: upper case': named(uuid.toUpperCase()),
    'malformed key id: two': named(`${idOf(own)},${idOf(own)}`),
    'malformed key id: x-obs': obsNamed('fake-key-id'),
    'unknown key id': named(uuid),
    'unknown key id: ARN': named(own.replace(/key\/.*/, `key/${uuid}`)),
    'unknown key id: mrk': named(`mrk-${'0'.repeat(32)}`),
    context: context({ project: 'sse', ü: '✓' }),
    'context, empty map': context({}),
    'context with the right aws:s3:arn': context({ 'aws:s3:arn': arn, a: 'b' }),
    'context with a wrong aws:s3:arn': context({ 'aws:s3:arn': 'arn:aws:s3:::other/key' }),
    'context with another aws: name': context({ 'aws:ec2': 'x' }),
    'context: (empty)': { ...kms, [C]: '' },
    'context: not base64': { ...kms, [C]: '{"a":"b"}' },
    'context: not JSON': { ...kms, [C]: base64('{') },
    'context: a list': context(['a']),
    'context: a number in it': context({ a: 1 }),
    'context alone': { [C]: base64('{}') },
    'context with AES256': { ...aes, [C]: base64('{}') },
    'bucket key: true': { ...kms, [B]: 'true' },
    'bucket key: false': { ...kms, [B]: 'false' },
    'bucket key: yes': { ...kms, [B]: 'yes' },
    'bucket key: (empty)': { ...kms, [B]: '' },
    'bucket key alone': { [B]: 'true' },
    'bucket key with AES256': { ...aes, [B]: 'true' },
    'project: own': { ...kms, [P]: admin.projectId },
    'project: another': { ...kms, [P]: stranger.projectId },
    'project: two': { ...kms, [P]: `${admin.projectId},another` },
    'project: (empty)': { ...kms, [P]: '' },
    'project alone': { [P]: admin.projectId },
    'project with AES256': { ...aes, [P]: admin.projectId },
    'project: x-obs, own': { ...obs, [OP]: admin.projectId },
    'project: x-obs, another': { ...obs, [OP]: stranger.projectId },
    'SSE-C with aws:kms': { ...kms, ...keyed(key1) },
    'SSE-C with AES256': { ...aes, ...keyed(key1) },
    'SSE-C with a key id': { [K]: own, ...keyed(key1) },
    'x-obs: SSE-C with kms': { ...obs, ...keyed(key1, 'x-obs-') },
    'x-obs: SSE-C with aws:kms of x-amz': { ...kms, ...keyed(key1, 'x-obs-') },
    'SSE-C': keyed(key1),
    'SSE-C: x-obs': keyed(key1, 'x-obs-'),
    'SSE-C: key 2': keyed(key2),
    'SSE-C: no algorithm': broken('x-amz-', 'algorithm'),
    'SSE-C: algorithm AES128': broken('x-amz-', 'algorithm', 'AES128'),
    'SSE-C: no key': broken('x-amz-', 'key'),
    'SSE-C: key (empty)': broken('x-amz-', 'key', ''),
    'SSE-C: no MD5': broken('x-amz-', 'key-md5'),
    'SSE-C: wrong MD5': broken('x-amz-', 'key-md5', md5(key2)),
    'SSE-C: key of 16 bytes': keyed(key1.subarray(0, 16)),
    'SSE-C: key not base64': broken('x-amz-', 'key', '***'),
    'SSE-C: both families': { ...keyed(key1), ...keyed(key1, 'x-obs-') },
    'copy source SSE-C': keyed(key1, source),
    'copy source SSE-C: x-obs': keyed(key1, 'x-obs-copy-source-'),
    'copy source SSE-C: key 2': keyed(key2, source),
    'copy source SSE-C: no algorithm': broken(source, 'algorithm'),
    'copy source SSE-C: AES128': broken(source, 'algorithm', 'AES128'),
    'copy source SSE-C: no key': broken(source, 'key'),
    'copy source SSE-C: no MD5': broken(source, 'key-md5'),
    'copy source SSE-C: wrong MD5': broken(source, 'key-md5', md5(key2)),
    'copy source SSE-C: key of 16': keyed(key1.subarray(0, 16), source),
    'copy source SSE-C and SSE-C': { ...keyed(key1, source), ...keyed(key1) },
  }
}

// --- Requests

/** How a request is signed. */
type Sign = (method: string, host: string, path: string, headers: Headers) => Headers

const v4 =
  (user: GatewayUser): Sign =>
  (method, host, path, headers) =>
    aws4.sign(
      {
        service: 's3',
        region,
        method,
        host,
        path,
        headers: { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      },
      user,
    ).headers

const older =
  (user: GatewayUser, word: 'AWS' | 'OBS', prefix: string): Sign =>
  (method, _host, path, headers) => {
    const date = new Date().toUTCString()
    const own = Object.entries(headers)
      .filter(([name]) => name.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}:${value}\n`)
    const text = `${method}\n\n${headers['content-type'] ?? ''}\n${date}\n${own.join('')}${path}`
    const signature = createHmac('sha1', user.secretAccessKey).update(text).digest('base64')
    return { ...headers, date, authorization: `${word} ${user.accessKeyId}:${signature}` }
  }

/** A form that a user signs (Signature Version 4): its fields are the headers of a row. */
const formOf = (user: GatewayUser, key: string, headers: Headers): Buffer => {
  const day = '20260102'
  const fields = Object.entries({
    key,
    ...headers,
    'x-amz-algorithm': 'AWS4-HMAC-SHA256',
    'x-amz-credential': `${user.accessKeyId}/${day}/${region}/s3/aws4_request`,
    'x-amz-date': `${day}T030405Z`,
  })
  const policy = base64(
    JSON.stringify({
      expiration: new Date(Date.now() + 600_000).toISOString(),
      conditions: [['starts-with', '$bucket', ''], ...fields.map(([name, value]) => ({ [name]: value }))],
    }),
  )
  const signature = signV4(signingKeyOf(user.accessKeyId, user.secretAccessKey, day, region), policy)
  const piece = ([name, value]: readonly [string, string]) =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const all: readonly (readonly [string, string])[] = [
    ...fields,
    ['policy', policy],
    ['x-amz-signature', signature],
    ['file', 'x'],
  ]
  return Buffer.from(`${all.map(piece).join('')}--b--\r\n`)
}

type Send = (method: string, path: string, headers?: Headers, body?: string | Uint8Array, sign?: Sign) => Promise<Reply>

/** A prepared gateway. */
interface Prepared {
  readonly gateway: TestGateway
  readonly send: Send
  readonly keys: Keys
  /** Ids of uploads, by how they were initiated. */
  readonly uploads: Readonly<Record<string, string>>
  /** Uploads that wait for Complete. */
  readonly ready: Map<string, { readonly id: string; readonly xml: string }>
}

const uploadId = ({ text }: Reply): string => /<UploadId>(.*?)</.exec(text)?.[1] ?? ''
const completeXml = (etag = ''): string =>
  `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`

/** A gateway with an object and an upload of each kind, and the keys that rows name. */
const prepare = async (t: Test, profile: Profile): Promise<Prepared> => {
  const gateway = await startGateway(t, { profile })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const [hostname = '', port] = gateway.host.split(':')
  const send: Send = async (method, path, headers = {}, body = '', sign = v4(admin)) => {
    const length = { 'content-length': String(Buffer.byteLength(body)) }
    const signed = sign(method, gateway.host, path, { host: gateway.host, ...headers, ...length })
    const req = request({ agent, hostname, port, method, path, headers: signed })
    req.end(body)
    const [res] = await once(req, 'response')
    const bytes: Buffer = await buffer(res)
    const text = bytes.toString()
    const code = /<Code>(.*?)<\/Code>/.exec(text)?.[1]
    return { status: res.statusCode, headers: res.headers, body: bytes, text, code }
  }
  await send('PUT', '/bucket')
  const kinds = { plain: {}, kms: { [S]: 'aws:kms' }, c: keyed(key1) }
  const uploads: Record<string, string> = {}
  const keys = await makeKeys(gateway.kms)
  for (const [kind, headers] of Object.entries(kinds)) {
    t.equal((await send('PUT', `/bucket/${kind}`, headers, 'some bytes')).status, 200)
    uploads[kind] = uploadId(await send('POST', `/bucket/upload-${kind}?uploads`, headers))
  }
  return { gateway, send, keys, uploads, ready: new Map() }
}

/** Holds an answer to a cell. */
const hold = (t: Test, reply: Reply, expected: string, dialect: 's3' | 'obs', what: string): void => {
  const { status, code, headers, text } = reply
  const error = Object.entries(errors).find(([letter]) => letter === expected)?.[1]
  if (error !== undefined) {
    const [wanted, name] = error
    const isHead = what.includes('Head')
    const message = isHead ? 'HEAD' : (/<Message>(.*?)<\/Message>/s.exec(text)?.[1] ?? '')
    if (status === wanted && (isHead || code === name) && message !== '') return
    t.fail(`${what}: expected ${expected} (${name}), got ${status} ${code ?? ''} ${message}`)
    return
  }
  const answered = headers[dialect === 's3' ? S : OS]
  const key = headers[dialect === 's3' ? K : OK]
  const customer = headers[`${dialect === 's3' ? 'x-amz' : 'x-obs'}-server-side-encryption-customer-key-md5`]
  const found =
    status >= 300
      ? `${status} ${code ?? ''}`
      : answered === (dialect === 's3' ? 'aws:kms' : 'kms')
        ? new RegExp(`^arn:aws:kms:${region}:${admin.domainId}:key/[0-9a-f-]{36}$`).test(String(key))
          ? 'kms'
          : `kms ${String(key)}`
        : answered === 'AES256'
          ? 'aes'
          : customer === undefined
            ? 'none'
            : 'sse-c'
  const ok = expected === 'ok' ? status < 300 : found === expected
  if (!ok) t.fail(`${what}: expected ${expected}, got ${found} ${text}`)
}

/** One request of an operation with the headers of a row. */
type Ask = (prepared: Prepared, name: string, headersAt: (key: string) => Headers) => Promise<Reply>

const attributes = { 'x-amz-object-attributes': 'ETag,Checksum' }
const form = { 'content-type': 'multipart/form-data; boundary=b' }
const complete =
  (kind: string): Ask =>
  async ({ send, ready }, _name, at) => {
    const own = kind === 'c' ? keyed(key1) : {}
    const path = `/bucket/complete-${kind}`
    const initiate = async () => {
      const id = uploadId(await send('POST', `${path}?uploads`, own))
      const part = await send('PUT', `${path}?uploadId=${id}&partNumber=1`, own, 'x')
      return { id, xml: completeXml(part.headers.etag) }
    }
    const { id, xml } = ready.get(kind) ?? (await initiate())
    const reply = await send('POST', `${path}?uploadId=${id}`, at(`complete-${kind}`), xml)
    // One that is refused leaves the upload as it is.
    if (reply.status === 200) ready.delete(kind)
    else ready.set(kind, { id, xml })
    return reply
  }
const uploadOf = (kind: string): Readonly<Record<string, Ask>> => ({
  UploadPart: ({ send, uploads }, _name, at) =>
    send('PUT', `/bucket/upload-${kind}?uploadId=${uploads[kind]}&partNumber=1`, at(`upload-${kind}`), 'part'),
})
const doneOf = (kind: string): Readonly<Record<string, Ask>> => ({
  ListParts: ({ send, uploads }, _name, at) =>
    send('GET', `/bucket/upload-${kind}?uploadId=${uploads[kind]}`, at(`upload-${kind}`)),
  CompleteMultipartUpload: complete(kind),
})
const reads = (key: string): Readonly<Record<string, Ask>> => ({
  GetObject: ({ send }, _name, at) => send('GET', `/bucket/${key}`, at(key)),
  HeadObject: ({ send }, _name, at) => send('HEAD', `/bucket/${key}`, at(key)),
})
const attributesOf = (key: string): Readonly<Record<string, Ask>> => ({
  GetObjectAttributes: ({ send }, _name, at) => send('GET', `/bucket/${key}?attributes`, { ...at(key), ...attributes }),
})
const copyOf = (key: string): Readonly<Record<string, Ask>> => ({
  CopyObject: ({ send }, _name, at) =>
    send('PUT', '/bucket/copied', { ...at('copied'), 'x-amz-copy-source': `bucket/${key}` }),
})
const partOf = (key: string): Readonly<Record<string, Ask>> => ({
  UploadPartCopy: ({ send, uploads }, _name, at) =>
    send('PUT', `/bucket/upload-plain?uploadId=${uploads['plain']}&partNumber=2`, {
      ...at('upload-plain'),
      'x-amz-copy-source': `bucket/${key}`,
    }),
})

/** The operations of each column. */
const columns: Readonly<Record<string, Readonly<Record<string, Ask>>>> = {
  write: {
    PutObject: ({ send }, _name, at) => send('PUT', '/bucket/put', at('put'), 'x'),
    PostObject: ({ send }, _name, at) =>
      send('POST', '/bucket', form, formOf(admin, 'posted', at('posted')), (_method, _host, _path, sent) => sent),
    CreateMultipartUpload: ({ send }, _name, at) => send('POST', '/bucket/begun?uploads', at('begun')),
  },
  copy: copyOf('plain'),
  'copy C': copyOf('c'),
  read: { ...reads('plain'), ...attributesOf('plain') },
  'read K': { ...reads('kms'), ...attributesOf('kms') },
  'read C': reads('c'),
  list: {
    ListObjects: ({ send }, _name, at) => send('GET', '/bucket?max-keys=1', at('')),
    ListObjectsV2: ({ send }, _name, at) => send('GET', '/bucket?list-type=2&max-keys=1', at('')),
    ListObjectVersions: ({ send }, _name, at) => send('GET', '/bucket?max-keys=1&versions=', at('')),
    ListMultipartUploads: ({ send }, _name, at) => send('GET', '/bucket?max-uploads=1&uploads=', at('')),
  },
  part: { ...uploadOf('plain'), ...doneOf('plain') },
  'part C': uploadOf('c'),
  'done C': doneOf('c'),
  from: partOf('plain'),
  'from C': partOf('c'),
}

/** Operations that know nothing of encryption: whatever is sent, they answer as without it. */
const others: Readonly<Record<string, readonly [method: string, path: string, body?: string]>> = {
  ListBuckets: ['GET', '/'],
  CreateBucket: ['PUT', '/bucket'],
  HeadBucket: ['HEAD', '/bucket'],
  DeleteBucket: ['DELETE', '/bucket'],
  HeadApiVersion: ['HEAD', '/bucket?apiversion='],
  GetBucketLocation: ['GET', '/bucket?location='],
  GetBucketPolicy: ['GET', '/bucket?policy='],
  PutBucketPolicy: ['PUT', '/bucket?policy=', 'no policy'],
  DeleteBucketPolicy: ['DELETE', '/bucket?policy='],
  GetBucketPolicyStatus: ['GET', '/bucket?policyStatus='],
  GetPublicAccessBlock: ['GET', '/bucket?publicAccessBlock='],
  PutPublicAccessBlock: ['PUT', '/bucket?publicAccessBlock=', 'no block'],
  DeletePublicAccessBlock: ['DELETE', '/bucket?publicAccessBlock='],
  GetBucketOwnershipControls: ['GET', '/bucket?ownershipControls='],
  PutBucketOwnershipControls: ['PUT', '/bucket?ownershipControls=', 'no rule'],
  DeleteBucketOwnershipControls: ['DELETE', '/bucket?ownershipControls='],
  GetBucketEncryption: ['GET', '/bucket?encryption='],
  PutBucketEncryption: ['PUT', '/bucket?encryption=', 'no rule'],
  DeleteBucketEncryption: ['DELETE', '/bucket?encryption='],
  GetBucketCors: ['GET', '/bucket?cors='],
  PutBucketCors: ['PUT', '/bucket?cors=', 'no rules'],
  DeleteBucketCors: ['DELETE', '/bucket?cors='],
  GetBucketTagging: ['GET', '/bucket?tagging='],
  PutBucketTagging: ['PUT', '/bucket?tagging=', 'no tags'],
  DeleteBucketTagging: ['DELETE', '/bucket?tagging='],
  GetBucketAcl: ['GET', '/bucket?acl='],
  PutBucketAcl: ['PUT', '/bucket?acl=', 'no list'],
  GetBucketVersioning: ['GET', '/bucket?versioning='],
  PutBucketVersioning: ['PUT', '/bucket?versioning=', 'no status'],
  DeleteObjects: ['POST', '/bucket?delete=', 'no list'],
  GetObjectTagging: ['GET', '/bucket/kms?tagging='],
  PutObjectTagging: ['PUT', '/bucket/kms?tagging=', 'no tags'],
  DeleteObjectTagging: ['DELETE', '/bucket/none?tagging='],
  GetObjectAcl: ['GET', '/bucket/kms?acl='],
  PutObjectAcl: ['PUT', '/bucket/kms?acl=', 'no list'],
  UpdateObjectEncryption: ['PUT', '/bucket/kms?encryption=', 'no encryption'],
  DeleteObject: ['DELETE', '/bucket/none'],
  AbortMultipartUpload: ['DELETE', '/bucket/none?uploadId=none'],
}

t.test('every operation has its place in the tables', async t => {
  const named = [...Object.values(columns).flatMap(column => Object.keys(column)), ...Object.keys(others)]
  t.strictSame([...new Set(named)].sort(), Object.keys(actions).sort())
  const rows = [...rowsOf(managed), ...rowsOf(customers)].map(row => cell(row, 'row'))
  t.strictSame(rows.sort(), Object.keys(headersOf({}, '')).sort(), 'and so has every combination of headers')
})

const profiles = { s3: createProfile('s3', { region }), obs: createProfile('obs', { region }) }
/** Whose header names the answer has. */
const dialectOf = (headers: Headers) => (Object.keys(headers).some(name => name.startsWith('x-obs-')) ? 'obs' : 's3')

const ask = async (t: Test, prepared: Prepared, column: string, row: string, expected: string): Promise<number> => {
  const at = (key: string) => headersOf(prepared.keys, `arn:aws:s3:::bucket/${key}`)[row] ?? {}
  const operations = Object.entries(columns[column] ?? {})
  if (operations.length === 0) throw new Error(column)
  await Promise.all(
    operations.map(async ([operation, run]) =>
      hold(t, await run(prepared, row, at), expected, dialectOf(at('')), `${row}: ${operation} (${column})`),
    ),
  )
  return operations.length
}

for (const name of ['s3', 'obs'] as const) {
  t.test(`${name}: headers of SSE-KMS and SSE-S3`, async t => {
    const prepared = await prepare(t, profiles[name])
    let count = 0
    for (const row of rowsOf(managed)) {
      const [title, expected] = [cell(row, 'row'), cell(row, name)]
      count += await ask(t, prepared, 'write', title, expected)
      count += await ask(t, prepared, 'copy', title, expected)
      count += await ask(t, prepared, 'copy C', title, expected in errors ? expected : 'R')
      for (const column of Object.keys(columns).filter(each => !/^write|^copy/.test(each))) {
        count += await ask(t, prepared, column, title, 'A')
      }
    }
    t.ok(count > 2000, `${count} requests`)
  })

  t.test(`${name}: no header, and a customer's key`, async t => {
    const prepared = await prepare(t, profiles[name])
    const base = name === 's3' ? 'aes' : 'none'
    let count = 0
    for (const row of rowsOf(customers)) {
      for (const column of Object.keys(columns)) {
        const expected = cell(row, column)
        count += await ask(t, prepared, column, cell(row, 'row'), expected === 'base' ? base : expected)
      }
    }
    t.ok(count > 500, `${count} requests`)
  })

  t.test(`${name}: the other operations know nothing of encryption`, async t => {
    const { send, keys } = await prepare(t, profiles[name])
    const rows = Object.entries(headersOf(keys, 'arn'))
    let count = 0
    for (const [i, [operation, [method, path, body]]] of Object.entries(others).entries()) {
      const { status, code } = await send(method, path, {}, body)
      // Nothing in them depends on the profile: each row is asked in one of the two.
      const asked = rows.filter((_row, j) => (i + j) % 2 === (name === 's3' ? 0 : 1))
      await Promise.all(
        asked.map(async ([row, headers]) => {
          const reply = await send(method, path, headers, body)
          if (reply.status !== status || reply.code !== code) {
            t.fail(`${operation}, ${row}: expected ${status} ${code ?? ''}, got ${reply.status} ${reply.code ?? ''}`)
          }
        }),
      )
      count += asked.length
    }
    t.ok(count > 1000, `${count} requests`)
  })

  t.test(`${name}: who may use SSE-KMS`, async t => {
    const { send, uploads } = await prepare(t, profiles[name])
    const everything = {
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:*',
      Resource: ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'],
    }
    const policy = JSON.stringify({ Version: '2012-10-17', Statement: [everything] })
    t.equal((await send('PUT', '/bucket?policy', {}, policy)).status, 204)
    const signs: Readonly<Record<string, Sign>> = {
      tenant_admin: v4(admin),
      'ordinary user': v4(ordinary),
      'tenant_admin, another tenant': v4(stranger),
      'ordinary, another tenant': v4(strangersUser),
      nobody: (_method, _host, _path, headers) => headers,
      'tenant_admin, Signature V2': older(admin, 'AWS', 'x-amz-'),
      'tenant_admin, OBS signature': older(admin, 'OBS', 'x-obs-'),
      'ordinary user, Signature V2': older(ordinary, 'AWS', 'x-amz-'),
    }
    const isObs = (whose: string) => whose.includes('OBS')
    for (const row of rowsOf(who)) {
      const whose = cell(row, 'who')
      const sign = signs[whose]
      if (sign === undefined) throw new Error(whose)
      const kms = isObs(whose) ? { [OS]: 'kms' } : { [S]: 'aws:kms' }
      const from = (key: string) => ({ [isObs(whose) ? 'x-obs-copy-source' : 'x-amz-copy-source']: `/bucket/${key}` })
      const try_ = async (expected: string, operation: string, ...[method, path, headers, body]: Parameters<Send>) =>
        hold(t, await send(method, path, headers, body, sign), expected, 's3', `${whose}: ${operation}`)
      const [sealed, plain] = [cell(row, name), cell(row, 'plain')]
      await try_(sealed, 'PutObject', 'PUT', '/bucket/theirs', kms, 'x')
      await try_(sealed, 'CopyObject, target', 'PUT', '/bucket/theirs', { ...kms, ...from('plain') })
      await try_(sealed, 'CopyObject, source', 'PUT', '/bucket/theirs-too', from('kms'))
      await try_(sealed, 'CreateMultipartUpload', 'POST', '/bucket/theirs?uploads', kms)
      await try_(sealed, 'GetObject', 'GET', '/bucket/kms')
      await try_(sealed, 'HeadObject', 'HEAD', '/bucket/kms')
      const upload = `/bucket/upload-kms?partNumber=1&uploadId=${uploads['kms']}`
      await try_(sealed, 'UploadPart', 'PUT', upload, {}, 'x')
      await try_(sealed, 'UploadPartCopy', 'PUT', upload, from('plain'))
      await try_(sealed, 'ListParts', 'GET', `/bucket/upload-kms?uploadId=${uploads['kms']}`)
      const id = uploadId(await send('POST', '/bucket/whole?uploads', { [S]: 'aws:kms' }))
      const { etag } = (await send('PUT', `/bucket/whole?partNumber=1&uploadId=${id}`, {}, 'x')).headers
      await try_(sealed, 'Complete', 'POST', `/bucket/whole?uploadId=${id}`, {}, completeXml(etag))
      await try_(plain, 'PutObject, plain', 'PUT', '/bucket/plain-one', {}, 'x')
      await try_(plain, 'GetObject, plain', 'GET', '/bucket/plain')
      await try_(plain, 'HeadObject, plain', 'HEAD', '/bucket/plain')
      await try_(plain, 'CopyObject, plain', 'PUT', '/bucket/plain-two', from('plain'))
      await try_(plain, 'ListObjects', 'GET', '/bucket')
      await try_(
        plain,
        'UploadPart, plain',
        'PUT',
        `/bucket/upload-plain?partNumber=1&uploadId=${uploads['plain']}`,
        {},
        'x',
      )
    }
    t.pass(`${rowsOf(who).length} callers`)
  })

  t.test(`${name}: the default of the bucket`, async t => {
    const prepared = await prepare(t, profiles[name])
    const { send, keys } = prepared
    const ids: Readonly<Record<string, string | undefined>> = {
      'aws:kms customer-made': keys['made'],
      'aws:kms disabled': keys['disabled'],
      'aws:kms pending': keys['pending'],
      'aws:kms another tenant': keys['strange'],
      'aws:kms unknown': uuid,
    }
    for (const row of rowsOf(defaults)) {
      const configured = cell(row, 'default of the bucket')
      const id = ids[configured]
      const [algorithm] = configured.split(' ')
      const key = id === undefined ? '' : `<KMSMasterKeyID>${id}</KMSMasterKeyID>`
      const xml = `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>${algorithm}</SSEAlgorithm>${key}</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
      t.equal((await send('PUT', '/bucket?encryption', {}, xml)).status, 200, configured)
      await ask(t, prepared, 'write', cell(row, 'row'), cell(row, name))
      await ask(t, prepared, 'copy', cell(row, 'row'), cell(row, name))
    }
  })

  t.test(`${name}: the default key in another state`, async t => {
    const { send, gateway, keys, uploads } = await prepare(t, profiles[name])
    const query = { keyId: keys['own'] ?? '' }
    for (const row of rowsOf(states)) {
      const state = cell(row, 'state')
      await (state === 'disabled' ? gateway.kms.disableKey(query) : gateway.kms.enableKey(query))
      const kms = { [S]: 'aws:kms' }
      const copy = { 'x-amz-copy-source': 'bucket/kms', [S]: 'AES256' }
      const part = `/bucket/upload-kms?uploadId=${uploads['kms']}&partNumber=1`
      hold(t, await send('PUT', '/bucket/a', kms, 'x'), cell(row, 'write'), 's3', `${state}: PutObject`)
      hold(t, await send('POST', '/bucket/a?uploads', kms), cell(row, 'write'), 's3', `${state}: Initiate`)
      hold(t, await send('GET', '/bucket/kms'), cell(row, 'read K'), 's3', `${state}: GetObject`)
      hold(t, await send('PUT', '/bucket/b', copy), cell(row, 'copy K'), 's3', `${state}: CopyObject`)
      hold(t, await send('PUT', part, {}, 'x'), cell(row, 'part K'), 's3', `${state}: UploadPart`)
    }
    t.pass('three times')
  })
}

t.test('what the options change', async t => {
  const made: Readonly<Record<string, Profile>> = {
    'obs customerKeys': createProfile('obs', { region, customerKeys: true }),
    's3 no customerKeys': createProfile('s3', { region, customerKeys: false }),
    's3 baseEncryption none': createProfile('s3', { region, baseEncryption: 'none' }),
    'obs baseEncryption sse-s3': createProfile('obs', { region, baseEncryption: 'sse-s3' }),
    'obs lenientParts': createProfile('obs', { region, lenientParts: true }),
    's3 lenientParts': createProfile('s3', { region, lenientParts: true }),
  }
  for (const [title, profile] of Object.entries(made)) {
    const prepared = await prepare(t, profile)
    const rows = rowsOf(options).filter(row => cell(row, 'profile and option') === title)
    t.ok(rows.length > 0, title)
    for (const row of rows) {
      const [column, name, answer] = [cell(row, 'operation'), cell(row, 'row'), cell(row, 'answer')]
      // ListParts has no leniency: clients do not repeat headers there.
      if (title.endsWith('lenientParts') && /^(?:part|done)/.test(column)) {
        const at = () => headersOf(prepared.keys, 'arn')[name] ?? {}
        for (const [operation, run] of Object.entries(columns[column] ?? {})) {
          const expected = operation === 'ListParts' ? 'A' : answer
          hold(t, await run(prepared, name, at), expected, 's3', `${title}, ${name}: ${operation}`)
        }
      } else await ask(t, prepared, column, name, answer)
    }
  }
})
