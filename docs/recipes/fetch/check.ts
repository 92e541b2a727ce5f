/** The handler by itself: objects come back; another name, another key, a changed byte and a client that breaks off. */
import assert from 'node:assert/strict'
import { createHandler, type Stored } from './handler.js'

const objects = new Map<string, Stored>()
const key = crypto.getRandomValues(new Uint8Array(32))
const handle = createHandler(key, objects)
const plain = crypto.getRandomValues(new Uint8Array(60_000))
const at = (path: string, init?: RequestInit) => new Request(`http://localhost${path}`, init)

const answer = await handle(at('/a', { method: 'PUT', body: plain }))
assert.equal(answer.status, 201)
const got = await handle(at('/a'))
assert.deepEqual(new Uint8Array(await got.arrayBuffer()), plain)
assert.equal(got.headers.get('etag'), answer.headers.get('etag'))
assert.equal((await handle(at('/b'))).status, 404)
console.log('ok what is put comes back')

const object = objects.get('/a')
assert.ok(object)
const refused = async (path: string, handler = handle) => {
  const { status, body } = await handler(at(path))
  assert.ok(body)
  if (status === 200) return body.getReader().read()
  throw new Error(await new Response(body).text())
}
objects.set('/b', object)
await assert.rejects(refused('/b'), /WrongCustomerKey/)
await assert.rejects(refused('/a', createHandler(new Uint8Array(32), objects)), /WrongCustomerKey/)
console.log('ok another name and another key are answered with an error')
const bytes = new Uint8Array(await object.stored.arrayBuffer())
bytes[50_000] = (bytes[50_000] ?? 0) ^ 1
objects.set('/a', { ...object, stored: new Blob([bytes]) })
await assert.rejects(refused('/a'), { code: 'NotAuthentic' })
console.log('ok a changed byte breaks the answer off, and none of its segment leaves')

const broken = new ReadableStream({
  pull: controller => controller.error(new Error('the client left')),
})
const before = new Map(objects)
const init: RequestInit & { duplex: 'half' } = { method: 'PUT', body: broken, duplex: 'half' }
assert.equal((await handle(at('/a', init))).status, 500)
assert.deepEqual(objects, before)
console.log('ok a PUT that breaks off leaves the old object')
