import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import t from 'tap'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { suiteOf } from '../../lib/cipher/suite.ts'
import { encodeTable, type PartRow } from '../../lib/envelope/part-table.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { createSse } from '../../lib/object/node.ts'
import { indexParts, partAt, streams, VerifiedTables } from '../../lib/object/part-index.ts'
import { storedLength } from '../../lib/segment/layout.ts'
import { driven } from '../support/drive.ts'

const suite = suiteOf(1)
const xor = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))
const rowsOf = (lengths: readonly number[]): readonly PartRow[] =>
  lengths.map((length, i) => ({ part: i + 1, length, salt: new Uint8Array(24) }))

t.test('streams and their offsets: as one would walk along them', async t => {
  const lengths = fc.array(fc.oneof(fc.constant(0), fc.nat(5), fc.nat(200_000)), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(lengths, fc.nat(), (sizes, seed) => {
      const index = indexParts(suite, rowsOf(sizes))
      const total = sizes.reduce((sum, size) => sum + size, 0)
      const stored = sizes.reduce((sum, size) => sum + storedLength(suite, size), 0)
      if (index.plaintext !== total || index.stored !== stored) return false
      let plaintextAt = 0
      let storedAt = 0
      for (const stream of streams(index)) {
        if (stream.plaintextAt !== plaintextAt || stream.storedAt !== storedAt) return false
        if (stream.size !== storedLength(suite, stream.row.length)) return false
        plaintextAt += stream.row.length
        storedAt += stream.size
      }
      if (total === 0) return true
      const offset = seed % total
      const found = index.rows[partAt(index, offset)]
      const begins = sizes.slice(0, partAt(index, offset)).reduce((sum, size) => sum + size, 0)
      return begins <= offset && offset < begins + (found?.length ?? 0)
    }),
    { numRuns: 500 },
  )
  t.equal(indexParts(suite, [{ part: 0, length: Infinity, salt: new Uint8Array(24) }]).stored, Infinity)
})

t.test('tables in memory: large ones, bounded, the one used last stays', async t => {
  const tables = new VerifiedTables()
  const rows = (count: number) => rowsOf(Array.from({ length: count }, () => 1))
  const tag = (n: number) => new Uint8Array(32).fill(n)
  const small = encodeTable(rows(3))
  tables.set(tag(0), small, indexParts(suite, rows(3)))
  t.equal(tables.get(tag(0), small), undefined, 'a small one is not kept')
  const table = encodeTable(rows(10_000))
  const large = indexParts(suite, rows(10_000))
  for (let n = 1; n <= 10; n++) for (let reader = 0; reader < 20; reader++) tables.set(tag(n), table, large)
  t.equal(tables.get(tag(1), Uint8Array.from(table)), large, 'ten of them fit')
  tables.set(tag(11), table, large)
  t.equal(tables.get(tag(2), table), undefined, 'the eleventh takes the place of the one used longest ago')
  t.equal(tables.get(tag(1), table), large)
  t.equal(tables.get(tag(11), table), large)
  for (const at of [0, 11, 35, table.length - 1]) {
    t.equal(tables.get(tag(11), xor(table, at)), undefined, `another byte ${at}`)
  }
  t.equal(tables.get(tag(11), table.subarray(0, -36)), undefined, 'a row less')
})

t.test('ranges of an object of 1,000 parts, its table verified once', async t => {
  const key = new Uint8Array(randomBytes(32))
  let hashed = 0
  const engine: typeof nodeEngine = {
    ...nodeEngine,
    sha256: (...data) => {
      if (data.some(({ length }) => length === 36_000)) hashed++
      return nodeEngine.sha256(...data)
    },
  }
  const sse = createSse({ kms: customerKey(engine, key), accept: [''], engine })
  const options = { customerKey: key }
  const upload = await sse.createUpload(options)
  const plain = new Uint8Array(randomBytes(3000))
  const bodies: Uint8Array[] = []
  const receipts: Uint8Array[] = []
  const named: { part: number; etag: string }[] = []
  for (let part = 1; part <= 1000; part++) {
    const encryption = await sse.encryptPart(upload, part, options)
    bodies.push(await driven(encryption.driver, [plain.subarray(3 * (part - 1), 3 * part)]))
    const { receipt, etag } = encryption.result()
    receipts.push(receipt)
    named.push({ part, etag })
  }
  const done = await sse.completeUpload(upload, named, receipts, options)
  const stored = Buffer.concat(bodies)
  hashed = 0
  for (const [start, end] of [
    [0, 0],
    [2999, 2999],
    [2, 3],
    [1400, 1499],
    [0, 2999],
  ] as const) {
    const get = await sse.decrypt(done.envelope, { ...options, range: { start, end }, held: stored.length })
    const run = stored.subarray(get.stored.start, get.stored.end + 1)
    const got = await driven(get.driver, [run])
    t.equal(Buffer.compare(got, plain.subarray(start, end + 1)), 0, `${start} to ${end}`)
    if (end - start < 2) t.ok(run.length < 200, 'of no more streams than it needs')
  }
  t.equal(hashed, 1)
  for (const from of [1, 24, 25, 36, 40, 36_000]) {
    const damaged = xor(done.envelope, done.envelope.length - from)
    await t.rejects(
      sse.decrypt(damaged, options),
      { code: 'NotAuthentic' },
      `a byte of the table, ${from} from its end`,
    )
  }
})
