/** What the façade answers to a program that no compiler checks: a sentence that names the argument, before anything is made. */
import { readdirSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import chain from 'stream-chain'
import t from 'tap'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { customerKey } from '../../lib/kms/customer.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { memoryKms } from '../../lib/kms/testing/memory.ts'
import { createSse } from '../../lib/object/node.ts'
import { createSse as createWebSse } from '../../lib/object/web.ts'

const manager = memoryKms()
const { keyId } = await manager.create('key')
const kms = manager
const sse = createSse({ kms, accept: [keyId] })
t.teardown(() => sse.dispose())

const made = await sse.encrypt({ length: 3 })
const stored = await Readable.from(made.pieces(['abc'])).toArray()
const { envelope, etag } = made.result()

/** Calls a function as a program without types does. */
const call = async (run: (...given: never[]) => unknown, ...given: unknown[]): Promise<unknown> =>
  Reflect.apply(run, undefined, given)

const answers = async (t: Tap, table: Readonly<Record<string, readonly [() => Promise<unknown>, string]>>) => {
  for (const [name, [run, message]] of Object.entries(table)) {
    await t.rejects(run(), { name: 'TypeError', message }, name)
  }
}
type Tap = Pick<typeof t, 'rejects'>

t.test('createSse', async t => {
  const of = (message: string, ...given: unknown[]): readonly [() => Promise<unknown>, string] => [
    () => call(createSse, ...given),
    message,
  ]
  const accept = 'accept takes an array with the ids of the master keys that objects may lie under, not '
  const taken = 'kms takes a key manager, such as LocalKms, or an array of them, not '
  await answers(t, {
    nothing: of('createSse takes an object with kms and accept, not undefined'),
    'no kms': of(`${taken}undefined`, {}),
    'no key manager': of(`${taken}an object`, { kms: {}, accept: [] }),
    'no key managers': of('kms takes a key manager, not an array', { kms: [], accept: [] }),
    'no accept': of(`${accept}undefined`, { kms }),
    'accept as text': of(`${accept}a string`, { kms, accept: keyId }),
    'an id that is missing': of('a key of accept takes the id of a master key, or { provider, keyId }, not undefined', {
      ...{ kms, accept: [undefined] },
    }),
    'half a key': of('keyId of a key of accept takes the id of a master key, not undefined', {
      ...{ kms, accept: [{ provider: 'memory' }] },
    }),
  })
  await t.rejects(call(createWebSse), { message: 'createSse takes an object with kms and accept, not undefined' })
})

t.test('encrypt', async t => {
  const of = (message: string, given: unknown): readonly [() => Promise<unknown>, string] => [
    () => call(sse.encrypt, given),
    message,
  ]
  const context = 'an encryption context takes names with values: an object or a Map, not '
  await answers(t, {
    number: of('the last argument takes an object with options, not a number', 5),
    body: of('the last argument takes an object with options, not a value of class Buffer', Buffer.from('body')),
    'a value that is no text': of('"size" of an encryption context takes text, not a number', { context: { size: 1 } }),
    'a value that is missing': of('"aws:s3:arn" of an encryption context takes text, not undefined', {
      context: { 'aws:s3:arn': undefined },
    }),
    'text as context': of(`${context}a string`, { context: 'name=value' }),
    'an array as context': of(`${context}an array`, { context: ['name'] }),
    'a key as text': of('customerKey takes a key of 32 bytes: a Uint8Array or Buffer, not a string', {
      customerKey: 'a'.repeat(32),
    }),
    keyId: of('keyId takes the id of a master key, not a number', { keyId: 5 }),
    signal: of('signal takes an AbortSignal, not a value of class AbortController', {
      signal: new AbortController(),
    }),
    values: of('values takes a function, not an object', { values: {} }),
  })
  t.throws(() => Reflect.apply(encryptionContext, undefined, [5]), { message: `${context}a number` })
})

t.test('a signal and the deadline end the call', async t => {
  const hanging = memoryKms({ fault: method => (method === 'create' ? undefined : 'hang') })
  const { keyId } = await hanging.create('key')
  const slow = createSse({ kms: hanging, accept: [keyId], deadline: 200 })
  await t.rejects(slow.encrypt(), { code: 'KmsUnavailable' })
  const reason = new Error('enough')
  const abort = new AbortController()
  const patient = createSse({ kms: hanging, accept: [keyId] })
  const calls = [
    patient.encrypt({ signal: abort.signal }),
    patient.createUpload({ signal: abort.signal }),
    createSse({ kms: hanging, accept: [{ provider: 'memory', keyId }] }).encrypt({ signal: abort.signal }),
  ]
  const ended = Promise.all(calls.map((given: Promise<unknown>) => t.rejects(given, reason)))
  setImmediate(() => abort.abort(reason))
  await ended
  await t.rejects(sse.decrypt(envelope, { signal: AbortSignal.abort(reason) }), reason)
})

t.test('decrypt', async t => {
  const text = Buffer.from(envelope).toString('base64url')
  const of = (message: string, ...given: unknown[]): readonly [() => Promise<unknown>, string] => [
    () => call(sse.decrypt, ...given),
    message,
  ]
  const bytes = 'envelope takes its bytes (Uint8Array, Buffer) or its text (base64url without padding), not '
  await answers(t, {
    nothing: of(`${bytes}undefined`),
    'an ArrayBuffer': of(`${bytes}a value of class ArrayBuffer`, new Uint8Array(envelope).buffer),
    'a Buffer out of JSON': of(`${bytes}an object`, JSON.parse(JSON.stringify(Buffer.from(envelope)))),
    'a Range header': of('range takes { start, end } or { suffix }: parse a Range header first, not a string', text, {
      range: 'bytes=0-1',
    }),
    'an ETag of HTTP': of('etag is taken without quotes', text, { etag: `"${etag}"` }),
    held: of('held takes a number of bytes, not a string', text, { held: '17' }),
    values: of('values takes bytes: a Uint8Array or Buffer, not a string', text, { values: 'abc' }),
  })
  const message = "The text is no envelope. Pass its bytes, or base64url without padding: toString('base64url')."
  for (const encoding of ['hex', 'base64'] as const) {
    const other = `${Buffer.from(envelope).toString(encoding)}${encoding === 'base64' ? '=' : ''}`
    await t.rejects(sse.decrypt(other), { name: 'SseError', code: 'NotAuthentic', message }, encoding)
  }
  t.equal((await sse.decrypt(text)).etag, etag)
})

t.test('LocalKms', async t => {
  const directory = t.testdir()
  const open =
    (...given: unknown[]) =>
    () =>
      call(LocalKms.open.bind(LocalKms), ...given)
  const kinds = '{ file }, { environment }, { passphrase } or { key }'
  const local = await LocalKms.open(`${directory}/keys`, { root: { key: new Uint8Array(32).fill(1) } })
  t.teardown(() => local.close())
  await answers(t, {
    'no directory': [open(), 'LocalKms.open takes the path of a directory, and then options, not undefined'],
    'no options': [
      open(directory),
      'LocalKms.open takes an object with root: where the root key comes from, not undefined',
    ],
    'no root': [open(directory, {}), `root takes ${kinds}, not undefined`],
    'a path as root': [open(directory, { root: './root.key' }), `root takes ${kinds}, not a string`],
    'another root': [open(directory, { root: { path: './root.key' } }), `root takes ${kinds}, not an object`],
    'a key as text': [
      open(directory, { root: { key: 'a'.repeat(32) } }),
      'key of root takes 32 bytes: a Uint8Array or Buffer, not a string',
    ],
    'no key': [
      () => call(local.createKey.bind(local)),
      'createKey takes an object with region and domainId, not undefined',
    ],
  })
  t.strictSame(readdirSync(directory), ['keys'], 'nothing was made')
  const message = 'a region has 1 to 64 of A-Z, a-z, 0-9, _ and -'
  await t.rejects(call(local.createKey.bind(local), {}), { name: 'RangeError', message })
  t.strictSame(await local.listKeys(), [], 'no key was made')
})

t.test('uploads, copies and files', async t => {
  const upload = { uploadId: 'id', session: new Uint8Array(3) }
  await answers(t, {
    'no upload': [
      () => call(sse.encryptPart, undefined, 1),
      'the first argument takes a stored upload: { uploadId, session }, not undefined',
    ],
    'a session as text': [
      () => call(sse.completeUpload, { ...upload, session: 'text' }, [], []),
      'session takes bytes: a Uint8Array or Buffer, not a string',
    ],
    'no target': [
      () => call(sse.rewrap, envelope, {}),
      'to takes an object with the key and context of the copy, not undefined',
    ],
    'no options': [
      () => call(sse.reencrypt, envelope),
      'the last argument takes an object with options, not undefined',
    ],
    'a path': [
      () => call(sse.decryptFile, '/etc/hostname'),
      'the first argument takes a file that can be read anywhere: { size, read }, not a string',
    ],
    'a key without engine': [
      () => call(customerKey, new Uint8Array(32)),
      'customerKey takes an engine, such as nodeEngine, and then the key, not a value of class Uint8Array',
    ],
    'a key as text': [
      () => call(customerKey, nodeEngine, 'a'.repeat(32)),
      'the key of customerKey takes 32 bytes: a Uint8Array or Buffer, not a string',
    ],
  })
})

const allOf = async (readable: ReadableStream<Uint8Array>): Promise<readonly Uint8Array[]> => {
  const reader = readable.getReader()
  const pieces: Uint8Array[] = []
  for (let next = await reader.read(); !next.done; next = await reader.read()) pieces.push(next.value)
  return pieces
}

t.test('text is a body: its UTF-8', async t => {
  const texts = ['grün ', '😀', ' и так далее']
  const opened = async (sealed: readonly Uint8Array[], { envelope }: { readonly envelope: Uint8Array }) => {
    const get = await sse.decrypt(envelope)
    return Buffer.concat(await Readable.from(get.pieces(sealed)).toArray()).toString()
  }
  const byPieces = await sse.encrypt()
  t.equal(await opened(await Readable.from(byPieces.pieces(texts)).toArray(), byPieces.result()), texts.join(''))

  const byStage = await sse.encrypt()
  const sealed: Uint8Array[] = []
  await pipeline(Readable.from(texts), chain([byStage.stage()]), async (source: AsyncIterable<Uint8Array>) => {
    for await (const piece of source) sealed.push(piece)
  })
  t.equal(await opened(sealed, byStage.result()), texts.join(''))

  const byWeb = await sse.encrypt()
  const { readable, writable } = byWeb.web()
  const reading = allOf(readable)
  const writer = writable.getWriter()
  for (const text of texts) await call(writer.write.bind(writer), text)
  await writer.close()
  t.equal(await opened(await reading, byWeb.result()), texts.join(''))

  const web = createWebSse({ kms, accept: [keyId] })
  const byWebPieces = await web.encrypt({ length: Buffer.byteLength(texts.join('')) })
  const sealedThere = await Readable.from(byWebPieces.pieces(texts)).toArray()
  t.equal(await opened(sealedThere, byWebPieces.result()), texts.join(''))
  const back = await web.decrypt(byWebPieces.result().envelope)
  t.equal(Buffer.concat(await Readable.from(back.pieces(sealedThere)).toArray()).toString(), texts.join(''))
  const tampered = await web.decrypt(byWebPieces.result().envelope)
  const changed = sealedThere.map((piece: Uint8Array) =>
    piece.map((byte, i) => (i === piece.length - 1 ? byte ^ 1 : byte)),
  )
  await t.rejects(Readable.from(tampered.pieces(changed)).toArray(), { code: 'NotAuthentic' })

  const half = await sse.encrypt()
  await t.rejects(Readable.from(half.pieces(['\ud83d'])).toArray(), {
    name: 'TypeError',
    message: 'a chunk of text ends inside of a character (half of a surrogate pair): send the body as bytes',
  })
  t.throws(() => half.result(), { name: 'TypeError' }, 'nothing to commit')
})

t.test('what is no body', async t => {
  const other = 'a body takes chunks of bytes (Uint8Array, Buffer) or text, not '
  const pieces = async (given: unknown): Promise<unknown> => {
    const { pieces } = await sse.encrypt()
    return Readable.from(Reflect.apply(pieces, undefined, [given])).toArray()
  }
  t.ok(stored.length > 0)
  await answers(t, {
    'no source': [
      () => pieces(undefined),
      'pieces takes what gives chunks: a stream, a generator or an array, not undefined',
    ],
    numbers: [() => pieces([1]), `${other}a number`],
    ArrayBuffer: [() => pieces([new ArrayBuffer(3)]), `${other}a value of class ArrayBuffer`],
  })
  const { web } = await sse.encrypt()
  const { readable, writable } = web()
  const reading = t.rejects(allOf(readable), { message: `${other}a number` })
  const writer = writable.getWriter()
  await t.rejects(call(writer.write.bind(writer), 5), { message: `${other}a number` })
  await reading
})
