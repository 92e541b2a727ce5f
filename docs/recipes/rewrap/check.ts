/** A plain file is sealed, copied, moved to a new key; the old key goes; what is wrong leaves the file whole. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSse, LocalKms } from 'sse-kms-streams'
import { rewrap, sealInPlace } from './files.js'

const data = process.env['DATA'] ?? ''
const scope = { region: 'sichuan', domainId: 'my-tenant' }
const kms = await LocalKms.open(join(data, 'keys'), { root: { file: join(data, 'root.key'), create: true } })
const { keyId: oldKey } = await kms.createKey(scope)
const { keyId: newKey } = await kms.createKey(scope)
const sse = createSse({ kms, accept: [oldKey] })
const contextOf = (name: string) => ({ 'aws:s3:arn': `arn:aws:s3:::bucket/${name}` })
const [a, b] = [join(data, 'a'), join(data, 'b')]
const opened = async (path: string, name: string, keyId: string) =>
  Buffer.from(await sse.decryptBytes(await readFile(path), { context: contextOf(name), accept: [keyId] }))

const plain = randomBytes(300_000)
await writeFile(a, plain)
await sealInPlace(sse, a, { context: contextOf('a') })
assert.ok(!(await readFile(a)).includes(plain.subarray(1000, 1032)))
assert.ok(plain.equals(await opened(a, 'a', oldKey)))
console.log('ok a plain file is sealed where it lies')

await rewrap(sse, a, b, { context: contextOf('a'), to: { context: contextOf('b') } })
assert.ok(plain.equals(await opened(b, 'b', oldKey)))
await assert.rejects(opened(b, 'a', oldKey), { code: 'NotAuthentic' })
assert.deepEqual((await readFile(b)).subarray(-plain.length), (await readFile(a)).subarray(-plain.length))
console.log('ok a copy has the same body, and opens under its own name alone')

await rewrap(sse, a, a, { context: contextOf('a'), to: { accept: [newKey], context: contextOf('a') } })
await kms.disableKey({ keyId: oldKey })
assert.ok(plain.equals(await opened(a, 'a', newKey)))
await assert.rejects(opened(b, 'b', oldKey), { code: 'KeyDisabled' })
console.log('ok a file that was moved to a new key needs the old one no more')

const before = await readFile(b)
await assert.rejects(rewrap(sse, b, b, { context: contextOf('b'), to: { accept: [newKey] } }), { code: 'KeyDisabled' })
before[100] = (before[100] ?? 0) ^ 1
await writeFile(b, before)
await kms.enableKey({ keyId: oldKey })
await assert.rejects(rewrap(sse, b, b, { context: contextOf('b'), to: { accept: [newKey] } }), { name: 'SseError' })
assert.deepEqual(await readFile(b), before)
await assert.rejects(sealInPlace(sse, b, { keyId: 'none' }), { code: 'KeyNotAccepted' })
assert.deepEqual((await readdir(data)).sort(), ['a', 'b', 'keys', 'root.key'])
console.log('ok what fails leaves the file as it was, and nothing beside it')

await kms.rotateKey({ keyId: newKey })
const stale = (await readFile(a)).toString('hex')
await rewrap(sse, a, a, {
  accept: [newKey],
  context: contextOf('a'),
  to: { accept: [newKey], context: contextOf('a') },
})
assert.notEqual((await readFile(a)).toString('hex'), stale)
assert.ok(plain.equals(await opened(a, 'a', newKey)))
console.log('ok a file moves to the newest version of its key')
kms.close()
