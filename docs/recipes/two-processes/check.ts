/** Three parts in three processes become one object; a part that is exchanged, cut or missing does not. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { kms, sse } from './keys.js'
import { upload } from './upload.js'

const data = process.env['DATA'] ?? ''
const context = { 'aws:s3:arn': 'arn:aws:s3:::bucket/object' }
const files = ['1', '2', '3'].map(name => join(data, name))
const plain = [randomBytes(200_000), randomBytes(65_536), randomBytes(10)]
await Promise.all(files.map((file, i) => writeFile(file, plain[i] ?? '')))

const { envelope, etag } = await upload(files, context)
assert.match(etag, /-3$/)
const sealed = await Promise.all(files.map(file => readFile(`${file}.sealed`)))
const read = async (stored: readonly Uint8Array[], range = {}) => {
  const body = Buffer.concat(stored)
  const get = await sse.decrypt(envelope, { context, held: body.length, ...range })
  return buffer(get.pieces([body.subarray(get.stored.start, get.stored.end + 1)]))
}
assert.deepEqual(await read(sealed), Buffer.concat(plain))
console.log('ok three parts of three processes are one object')
const range = { range: { start: 199_990, end: 200_009 } }
assert.deepEqual(await read(sealed, range), Buffer.concat(plain).subarray(199_990, 200_010))
console.log('ok a range over two parts')

const [first, second, third] = sealed
assert.ok(first && second && third)
await assert.rejects(read([second, first, third]), { code: 'NotAuthentic' })
await assert.rejects(read([first, second]), { code: 'NotAuthentic' })
await assert.rejects(read([first, second, third.map((byte, i) => (i === 60 ? byte ^ 1 : byte))]), {
  code: 'NotAuthentic',
})
console.log('ok parts that are exchanged, missing or changed are refused')
await assert.rejects(upload([join(data, 'none')]), { message: 'part 1: its process ended with 1' })
console.log('ok a part whose process fails fails the upload')
kms.close()
