/**
 * The same client's script against this gateway and Ceph's, radosgw 16 of Debian; where the answers differ is a table of docs/compatibility.md,
 * with the reason why ours is so. `DOCS_WRITE=1 npx tap test/clients/radosgw.test.ts` writes it anew. Skips, in one line, where radosgw is missing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createProfile } from '../../lib/sse/profile.ts'
import { type Outcome, runScript, script, type Service } from '../support/client-script.ts'
import { admin, startGateway, stranger } from '../support/gateway.ts'
import { radosgwMissing, startRadosgw } from '../support/radosgw.ts'

/** Why our answer to these steps is another one than that of radosgw. Every step that differs stands here once, and no other. */
const reasons: ReadonlyMap<string, readonly string[]> = new Map([
  ['as S3', ['create a bucket', 'list buckets', 'head of a bucket', 'location of a bucket']],
  ['as OBS, and S3 everywhere but in us-east-1', ['create it again']],
  [
    'a range that ends before it begins is no range (RFC 9110, 14.1.1), and of several none is served',
    ['range: not understood', 'range: two of them'],
  ],
  ['the last 0 bytes cannot be served (RFC 9110, 14.1.2)', ['range: none of it']],
  [
    'parts can be read by number, as in S3',
    [
      'get part 1 of an object without parts',
      'multipart: get part 2',
      'multipart: get part 3',
      'multipart: head of part 1',
    ],
  ],
  [
    'checksums of bodies are checked, in a header and behind the body',
    ['put with a checksum of another body', 'put a stream with a checksum behind it'],
  ],
  ['checksums that a client sent are kept, and answered', ['put with a checksum', 'head with its checksum']],
  [
    "S3's code",
    [
      'put with a storage class that is none',
      'put a key of 1,025 bytes',
      'multipart: complete with small parts',
      'multipart: complete in the wrong order',
      'multipart: part from a range that is not there',
      'policy: put one that is no JSON',
      'policy: put one with an effect that is none',
      'bucket tags: put',
      'bucket tags: delete',
      'policy: delete',
      'policy: delete it again',
      'public access block: get none',
      'public access block: delete',
      'is the policy public: none',
      'is the policy public: delete it',
      'SSE-KMS: put with a context that is no JSON',
      'SSE-C: get without a key',
      'SSE-C: get with another key',
      'a signature that is none',
      'get of a version that is not there',
    ],
  ],
  ["S3's limit", ['put with 3 KiB of metadata', 'multipart: part 0', 'multipart: part 10,001']],
  ['radosgw compares the ETag with its quotes', ['put if it is this']],
  ['as S3 encodes: slashes stay, a space is a plus', ['list: names encoded']],
  [
    'what is not understood is refused rather than passed over',
    [
      'list: an encoding that is none',
      'list: a token that is none',
      'list: fewer than nothing',
      'object tags: one key twice',
      'policy: put one for another bucket',
      'delete none of many',
    ],
  ],
  ['as S3: NextMarker goes with a delimiter', ['list V1: a page without one']],
  [
    'the ETag is answered',
    ['multipart: complete', 'SSE-C: multipart: complete', 'SSE-C: multipart, Complete without the key: complete'],
  ],
  ['owners have an id and no name', ['multipart: list parts', 'multipart: list a page of parts']],
  ['markers are answered, as S3 does; owners have an id and no name', ['multipart: list uploads']],
  ['conditions on the source hold', ['copy if the source is that', 'copy if the source is not this']],
  ['the directive holds', ['copy with other tags: these']],
  ['the owner first, as in S3', ['object ACL: get public-read']],
  [
    'a negated condition holds where the header is absent: the policy of the OBS page needs it',
    ['policy: put without aws:kms'],
  ],
  [
    'the key is answered by its ARN; the ETag is no MD5; a context is answered where the client sent one',
    ['policy: put with aws:kms', 'SSE-KMS: put', 'SSE-KMS: put with a context', 'SSE-KMS: multipart: initiate'],
  ],
  ['bucket keys are built, and answered', ['SSE-KMS: put with a bucket key']],
  [
    'the key is answered by its ARN; the ETag is no MD5',
    [
      'SSE-KMS: head',
      'SSE-KMS: get',
      'SSE-KMS: a range',
      'SSE-KMS: get with a context',
      'SSE-KMS: multipart: part 1',
      'SSE-KMS: multipart: part 2',
      'SSE-KMS: multipart: head',
      'SSE-KMS: multipart: a range over both parts',
      'SSE-KMS: presigned put: head',
    ],
  ],
  ['Complete names the encryption, as in S3', ['SSE-KMS: multipart: complete']],
  ['without a key id the default master key is used', ['SSE-KMS: put without a key id']],
  ["the KMS's own error", ['SSE-KMS: put with a key that is not there']],
  [
    'headers that contradict each other are refused',
    ['SSE-KMS: key id with AES256', 'SSE-C: together with SSE-KMS', 'SSE-C: get of an object without'],
  ],
  ['known, and not built', ['SSE: aws:kms:dsse']],
  ['the header is refused, as in S3, with the argument named', ['SSE-KMS: header on get']],
  [
    'a copy is encrypted as it asks; radosgw stores it in the clear',
    ['SSE-KMS: copy to it', 'SSE-KMS: copy to it: head'],
  ],
  [
    'encrypted objects can be copied',
    [
      'SSE-KMS: copy from it',
      'SSE-KMS: copy from it: get',
      'SSE-KMS: copy to another key',
      'SSE-KMS: copy to another key: get',
      'SSE-C: copy from it',
      'SSE-C: copy from it: get',
      'SSE-C: copy from it without a key',
      'SSE-C: copy to another key',
      'SSE-C: copy to another key: get',
      'SSE-C: copy from it to SSE-KMS',
      'SSE-C: copy from it to SSE-KMS: get',
    ],
  ],
  ['SSE-S3 is built; radosgw 16 takes the header and stores in the clear', ['SSE-S3: put', 'SSE-S3: head']],
  [
    'bucket encryption is built; radosgw 16 takes the sub-resource for the bucket itself, DELETE too',
    [
      'bucket encryption: get none',
      'bucket encryption: put aws:kms',
      'bucket encryption: get',
      'bucket encryption: put an object',
      'bucket encryption: head of it',
      'bucket encryption: put two rules',
      'bucket encryption: delete',
      'bucket encryption: delete it again',
    ],
  ],
  [
    'the ETag is no MD5, as in S3',
    [
      'SSE-C: put',
      'SSE-C: head',
      'SSE-C: get',
      'SSE-C: a range',
      'SSE-C: multipart: part 1',
      'SSE-C: multipart: part 2',
      'SSE-C: multipart, Complete without the key: part 1',
      'SSE-C: multipart, Complete without the key: part 2',
    ],
  ],
  ['in the order of the request', ['delete many']],
  ['built; radosgw 16 answers the object itself', ['attributes of an object']],
  ['signatures are for a region', ['a region that is another']],
  [
    'not built, and refused by name',
    [
      'lifecycle: get none',
      'website: get none',
      'object lock: get none',
      'replication: get none',
      'notifications: get',
      'logging: get',
      'who pays for requests',
    ],
  ],
])

const statusOf = (outcome: Outcome): string => ['status', 'code'].flatMap(name => outcome.get(name) ?? []).join(' ')

/** Both answers, as far as they differ; `undefined` where they do not. */
const difference = (ours: Outcome, theirs: Outcome): readonly [string, string] | undefined => {
  if (statusOf(ours) !== statusOf(theirs)) return [statusOf(ours), statusOf(theirs)]
  const names = [...new Set([...ours.keys(), ...theirs.keys()])].filter(name => ours.get(name) !== theirs.get(name))
  if (names.length === 0) return undefined
  const show = (outcome: Outcome): string => {
    const shown = names.map(name => (outcome.has(name) ? `\`${name}\` ${outcome.get(name)}` : `no \`${name}\``))
    return `${shown.slice(0, 3).join(', ')}${shown.length > 3 ? ', …' : ''}`
  }
  return [show(ours), show(theirs)]
}

/** The table: steps that differ alike, for the same reason, in one row. */
const tableOf = (rows: ReadonlyMap<string, readonly string[]>): string => {
  const head = ['step', 'ours', 'radosgw', 'why ours is so']
  const lines = [head, head.map(() => '---'), ...Array.from(rows, ([cells, steps]) => [steps.join('; '), cells])]
  return lines.map(cells => `| ${cells.join(' | ')} |\n`).join('')
}

const compare = (t: Test, ours: ReadonlyMap<string, Outcome>, theirs: ReadonlyMap<string, Outcome>): string => {
  const why = new Map([...reasons].flatMap(([reason, steps]) => steps.map(step => [step, reason] as const)))
  const rows = new Map<string, string[]>()
  const none: Outcome = new Map()
  for (const [step] of script) {
    const cells = difference(ours.get(step) ?? none, theirs.get(step) ?? none)
    const reason = why.get(step)
    t.equal(reason !== undefined, cells !== undefined, `${step}: ${cells?.join(' / ') ?? 'no difference'}`)
    if (cells === undefined) continue
    const key = [...cells, reason].join(' | ').replaceAll('\n', ' ')
    rows.set(key, [...(rows.get(key) ?? []), step])
  }
  return tableOf(rows)
}

const serviceOfOurs = async (t: Test): Promise<Service> => {
  const region = 'us-east-1'
  // Without a base encryption and checksums of its own accord, which radosgw does not have.
  const profile = createProfile('s3', { region, baseEncryption: 'none', defaultChecksum: 'none' })
  const { url, kms } = await startGateway(t, { profile })
  const key = async () => (await kms.createKey({ region, domainId: admin.domainId })).keyId
  return { url, users: [admin, stranger], keyIds: [await key(), await key()] }
}

t.test('the same script, and where the answers differ', { skip: radosgwMissing }, async t => {
  t.equal(new Set(script.map(([name]) => name)).size, script.length, 'each step has a name of its own')
  const ours = await runScript(await serviceOfOurs(t))
  const theirs = await runScript(await startRadosgw(t))
  const table = compare(t, ours, theirs)
  const path = fileURLToPath(new URL('../../docs/compatibility.md', import.meta.url))
  const text = readFileSync(path, 'utf8')
  const counted = `${script.length} steps`
  const expected = text
    .replace(/(<!-- beside radosgw -->\n).*?(?=<!-- end -->)/s, (_, head: string) => `${head}\n${table}\n`)
    .replace(/\d+ steps/, counted)
  if (process.env['DOCS_WRITE'] === '1') writeFileSync(path, expected)
  t.ok(expected.includes(table))
  t.equal(readFileSync(path, 'utf8'), expected, 'DOCS_WRITE=1 npx tap test/clients/radosgw.test.ts writes it anew')
})
