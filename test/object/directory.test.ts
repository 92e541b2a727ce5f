/** A directory of sealed objects on a real disk: what is put and got, what is left after a failure, and that no file stays open. */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { mock } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { watchFlushes } from '../support/flushes.ts'

const { lost } = await watchFlushes()
const { createSse, LocalKms } = await import('../../lib/index.ts')
const { sealedFiles } = await import('../../lib/object/directory.ts')

const kms = await LocalKms.open(join(t.testdir(), 'keys'), { root: { key: new Uint8Array(randomBytes(32)) } })
t.teardown(() => kms.close())
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const sse = createSse({ kms, accept: [keyId], engine: 'node' })
const context = (name: string) => ({ 'aws:s3:arn': `arn:aws:s3:::bucket/${name}` })
const fileName = (name: string): string => createHash('sha256').update(name).digest('hex')

const fresh = async (t: Test) => {
  const directory = join(t.testdir(), 'some', 'objects')
  const files = await sealedFiles({ sse, directory, context })
  const pathOf = (name: string): string => join(directory, fileName(name))
  const holds = async (name: string, body: Uint8Array, message: string): Promise<void> => {
    t.ok((await buffer((await files.get(name)).stream)).equals(body), message)
    t.strictSame(fs.readdirSync(directory), [fileName(name)], `${message}: nothing else lies there`)
  }
  const openFiles = (): readonly string[] =>
    fs.readdirSync('/proc/self/fd').flatMap(fd => {
      try {
        const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
        return path.startsWith(directory) ? [path] : []
      } catch {
        return []
      }
    })
  const allClosed = async (message: string): Promise<void> => {
    for (let i = 0; i < 200 && openFiles().length > 0; i++) await setTimeout(10)
    t.strictSame(openFiles(), [], `${message}: no file is open`)
  }
  return { directory, files, pathOf, holds, allClosed }
}

const flip = (path: string, at: number): void => {
  const bytes = fs.readFileSync(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.writeFileSync(path, bytes)
}

const webStream = (...chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: controller => {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })

t.test('put, get, remove', async t => {
  const { directory, files, pathOf } = await fresh(t)
  const body = randomBytes(300_000)
  const put = await files.put('cat.jpg', Readable.from([body]))
  t.strictSame(put, {
    status: 200,
    headers: { 'content-length': '0', etag: `"${put.etag}"` },
    etag: put.etag,
    length: 300_000,
    stream: put.stream,
    web: put.web,
  })
  t.match(put.etag, /^[0-9a-f]{32}-1$/)
  t.strictSame([(await buffer(put.stream)).length, await new Response(put.web()).text()], [0, ''])
  t.equal(fs.readFileSync(pathOf('cat.jpg')).includes(body.subarray(0, 100)), false, 'the plaintext is not on the disk')
  t.strictSame([fs.statSync(directory).mode & 0o777, fs.statSync(pathOf('cat.jpg')).mode & 0o777], [0o700, 0o600])
  t.strictSame(lost(join(directory, '..', '..'), true), [], 'a power cut takes nothing of it')

  const get = await files.get('cat.jpg')
  t.match(get, { status: 200, etag: put.etag, length: 300_000 })
  t.strictSame(get.headers, { 'content-length': '300000', 'accept-ranges': 'bytes', etag: `"${put.etag}"` })
  t.ok((await buffer(get.stream)).equals(body))

  t.equal(await files.remove('cat.jpg'), true)
  t.equal(await files.remove('cat.jpg'), false)
  await t.rejects(files.get('cat.jpg'), { code: 'NoSuchKey', status: 404 })
  t.strictSame(fs.readdirSync(directory), [])
  t.strictSame(lost(join(directory, '..', '..'), true), [])
})

t.test('ranges and If-Range', async t => {
  const { files, allClosed } = await fresh(t)
  const body = randomBytes(300_000)
  const { etag } = await files.put('a', body)
  const got = async (headers: Readonly<Record<string, string | string[]>>) => {
    const { status, headers: answer, length, stream } = await files.get('a', headers)
    const bytes = await buffer(stream)
    t.strictSame([bytes.length, Number(answer['content-length'])], [length, length])
    return { status, range: answer['content-range'], bytes }
  }
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 0],
    ['bytes=65535-65536', 65_535, 65_536],
    ['bytes=70000-200000', 70_000, 200_000],
    ['bytes=-5', 299_995, 299_999],
    ['bytes=299999-', 299_999, 299_999],
  ] as const) {
    const { status, range: shown, bytes } = await got({ range })
    t.strictSame([status, shown], [206, `bytes ${start}-${end}/300000`])
    t.ok(bytes.equals(body.subarray(start, end + 1)), range)
  }
  t.equal((await got({ range: 'bytes=0-1,5-6' })).status, 200)
  t.equal((await got({ range: ['bytes=5-9'], 'if-range': `"${etag}"` })).bytes.length, 5)
  for (const other of ['"another"', `W/"${etag}"`, etag, '', new Date().toUTCString()]) {
    t.equal((await got({ range: 'bytes=5-9', 'if-range': other })).status, 200, other)
    t.equal(
      (await got({ range: 'bytes=300000-', 'if-range': other })).status,
      200,
      'a range that does not hold is no 416',
    )
  }
  const beyond = { code: 'RangeNotSatisfiable', status: 416, headers: { 'content-range': 'bytes */300000' } }
  await t.rejects(files.get('a', { range: 'bytes=300000-' }), beyond)
  await t.rejects(files.get('a', { range: 'bytes=300000-', 'if-range': `"${etag}"` }), beyond)
  await allClosed('ranges')
})

t.test('names of any kind', async t => {
  const { directory, files } = await fresh(t)
  const names = [
    '',
    '.',
    '..',
    '/',
    '../../etc/passwd',
    'a/b',
    'a',
    'A',
    'a\0',
    '\0',
    'x'.repeat(3000),
    'é',
    'e\u0301',
    'CON',
    'a.',
    'a ',
  ]
  for (const name of names) await files.put(name, name)
  t.equal(fs.readdirSync(directory).length, names.length, 'a file for each')
  t.ok(fs.readdirSync(directory).every(name => /^[0-9a-f]{64}$/.test(name)))
  for (const name of names) t.equal(String(await buffer((await files.get(name)).stream)), name)
  for (const name of names) t.equal(await files.remove(name), true)
  t.strictSame(fs.readdirSync(directory), [])

  const half = { code: 'InvalidArgument', status: 400 }
  await t.rejects(files.put('\ud800', 'x'), half)
  await t.rejects(files.get('\ud800'), half)
  await t.rejects(
    files.put('x'.repeat(10_000), 'x'),
    { code: 'InvalidContext', status: 400 },
    'too long for the context',
  )
  t.strictSame(fs.readdirSync(directory), [])
})

t.test('sources of any kind', async t => {
  const { files, holds } = await fresh(t)
  const body = randomBytes(200_000)
  const [one, two] = [body.subarray(0, 70_000), body.subarray(70_000)]
  const sources = {
    'a readable': Readable.from([one, two]),
    'a stream of a file': Readable.from(body, { objectMode: false }),
    'a generator': (async function* () {
      yield one
      yield two
    })(),
    'an iterable': [one, two],
    'a WHATWG stream': webStream(one, two),
    'the body of a request': new Request('http://localhost', { method: 'PUT', body }).body,
    bytes: body,
    'other bytes': new Uint8Array(body),
  }
  for (const [what, source] of Object.entries(sources)) {
    t.equal((await files.put('a', source)).length, body.length, what)
    await holds('a', body, what)
  }
  t.equal((await files.put('a', 'é')).length, 2)
  t.equal((await files.put('a', null)).length, 0)
  await holds('a', Buffer.of(), 'no body')
  await files.put('a', body, { length: body.length })
  await holds('a', body, 'a declared length')
})

t.test('what is no source', async t => {
  const { files, holds } = await fresh(t)
  const body = randomBytes(100)
  await files.put('a', body)
  const read = Readable.from([body])
  await buffer(read)
  const begun = Readable.from([body, body])
  begun.read()
  const readWeb = webStream(body)
  await new Response(readWeb).arrayBuffer()
  const locked = webStream(body)
  locked.getReader()
  for (const source of [read, begun, readWeb, locked]) await t.rejects(files.put('a', source), /nobody has read from/)
  await t.rejects(files.put('a', Object(5)), TypeError)
  await t.rejects(files.put('a', Object(undefined)), TypeError)
  await t.rejects(files.put('a', Object([5])), TypeError)
  await t.rejects(files.put(Object(5), body), TypeError)
  await t.rejects(files.put('a', body, { length: Number.NaN }), RangeError)
  await holds('a', body, 'the object stays')
  const directory = t.testdir()
  for (const wrong of [{ sse: {} }, { directory: '' }, { context: {} }]) {
    await t.rejects(sealedFiles(Object({ sse, directory, context, ...wrong })), TypeError)
  }
  await t.rejects(sealedFiles(Object(undefined)), TypeError)
})

t.test('a put that fails or is aborted', async t => {
  const { files, holds, allClosed } = await fresh(t)
  const body = randomBytes(100_000)
  await files.put('a', body)

  const left: string[] = []
  const stuck = async function* () {
    try {
      yield body
      await new Promise(() => undefined)
    } finally {
      left.push('stuck')
    }
  }
  const waiting = new Readable({ read: () => undefined })
  waiting.push(body)
  let cancelled: unknown
  const web = new ReadableStream<Uint8Array>({
    start: controller => controller.enqueue(body),
    cancel: reason => {
      cancelled = reason ?? 'cancelled'
    },
  })
  for (const [what, source] of Object.entries({ generator: stuck(), readable: waiting, web })) {
    const reason = new Error(`abort of ${what}`)
    const signal = AbortSignal.timeout(60_000)
    const controller = new AbortController()
    const put = files.put('a', source, { signal: AbortSignal.any([signal, controller.signal]) })
    await setTimeout(30)
    controller.abort(reason)
    await t.rejects(put, reason)
    await holds('a', body, what)
  }
  t.equal(waiting.destroyed, true, 'the stream is destroyed')
  t.not(cancelled, undefined, 'the WHATWG stream is cancelled')
  await t.rejects(files.put('a', body, { signal: AbortSignal.abort(new Error('before')) }), /before/)

  const failing = async function* () {
    yield body
    throw new Error('the source fails')
  }
  await t.rejects(files.put('a', failing()), /the source fails/)
  const broken = new Readable({ read: () => undefined })
  broken.push(body)
  const put = files.put('a', broken)
  await setTimeout(30)
  broken.destroy()
  await t.rejects(put, { code: 'ERR_STREAM_PREMATURE_CLOSE' }, 'a stream that breaks off')
  const over = new Readable({ read: () => undefined })
  over.destroy()
  await t.rejects(files.put('a', over), 'a stream that was over before')
  for (const length of [99_999, 100_001]) {
    await t.rejects(files.put('a', body, { length }), { code: 'LengthMismatch' }, `${length}`)
  }
  await holds('a', body, 'after all of them')
  await allClosed('after all of them')
})

/** Makes a method of every file handle fail while `work` runs. */
const failingHandles = async (method: 'writev' | 'sync' | 'read', code: string, work: () => Promise<void>) => {
  const handle = await open('/', 'r')
  const handles: Record<string, (this: FileHandle, ...given: unknown[]) => unknown> = Object.getPrototypeOf(handle)
  await handle.close()
  const { [method]: real } = handles
  if (real === undefined) throw new Error(`no ${method}`)
  handles[method] = async () => {
    throw Object.assign(new Error(`${code}: injected`), { code })
  }
  try {
    await work()
  } finally {
    handles[method] = real
  }
}

t.test('a disk that fails', async t => {
  const { directory, files, pathOf, holds, allClosed } = await fresh(t)
  const body = randomBytes(100_000)
  await files.put('a', body)
  await failingHandles('writev', 'ENOSPC', async () => {
    await t.rejects(files.put('a', 'x'), { code: 'StoreFull', status: 507 })
  })
  await failingHandles('sync', 'EIO', async () => {
    await t.rejects(files.put('a', 'x'), { code: 'StoreFailed', status: 500, cause: { code: 'EIO' } })
  })
  await failingHandles('read', 'EIO', async () => {
    await t.rejects(files.get('a'), { code: 'StoreFailed', cause: { code: 'EIO' } })
  })
  const { stream } = await files.get('a')
  await failingHandles('read', 'EIO', async () => {
    await t.rejects(buffer(stream), { code: 'StoreFailed', cause: { code: 'EIO' } })
  })
  await holds('a', body, 'the object stays')

  fs.mkdirSync(pathOf('folder'))
  await t.rejects(files.put('folder', 'x'), { code: 'StoreFailed' }, 'a folder in the way')
  await t.rejects(files.get('folder'), { code: 'StoreFailed' })
  await t.rejects(files.remove('folder'), { code: 'StoreFailed' })
  fs.symlinkSync(pathOf('a'), pathOf('link'))
  await t.rejects(files.get('link'), { code: 'StoreFailed' }, 'no symbolic link is followed')
  t.strictSame(fs.readdirSync(directory).sort(), ['a', 'folder', 'link'].map(fileName).sort(), 'no part file')
  await allClosed('failures')

  const { stream: cut } = await files.get('a')
  fs.truncateSync(pathOf('a'), 70_000)
  await t.rejects(buffer(cut), { code: 'StoreFailed' }, 'a file that became shorter meanwhile')
  await allClosed('a shorter file')
  const file = join(t.testdir({ file: '' }), 'file')
  await t.rejects(sealedFiles({ sse, directory: file, context }), { code: 'StoreFailed' })
})

t.test('puts of one name at once, beside gets', async t => {
  const { files, directory, allClosed } = await fresh(t)
  const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(150_000, i + 1))
  await files.put('a', Buffer.alloc(150_000))
  const early = await files.get('a')
  const puts = Promise.all(bodies.map(body => files.put('a', body)))
  const over = puts.then(() => true)
  const reads = (async () => {
    let count = 0
    while (!(await Promise.race([over, setTimeout(1, false)]))) {
      const bytes = await buffer((await files.get('a')).stream)
      if (!bytes.equals(Buffer.alloc(150_000, bytes[0]))) throw new Error('two objects in one answer')
      count++
    }
    return count
  })()
  t.ok((await reads) > 0)
  const { etag, stream } = await files.get('a')
  const winner = (await puts).findIndex(put => put.etag === etag)
  t.ok(bodies[winner]?.equals(await buffer(stream)), 'one of them, whole')
  t.ok((await buffer(early.stream)).equals(Buffer.alloc(150_000)), 'whoever reads the old object gets all of it')
  t.strictSame(fs.readdirSync(directory), [fileName('a')])
  await allClosed('after them')
})

t.test('a changed file never ends cleanly', async t => {
  const { files, pathOf, allClosed } = await fresh(t)
  const body = randomBytes(300_000)
  await files.put('a', body)
  const whole = fs.readFileSync(pathOf('a'))
  for (const at of [0, 20, 100, 5000, 100_000, 200_000, whole.length - 1]) {
    fs.writeFileSync(pathOf('a'), whole)
    flip(pathOf('a'), at)
    const released: Uint8Array[] = []
    const read = async (): Promise<void> => {
      for await (const chunk of (await files.get('a')).stream) released.push(chunk)
    }
    await t.rejects(read(), { code: 'NotAuthentic' }, `byte ${at}`)
    const bytes = Buffer.concat(released)
    t.ok(bytes.length < body.length && bytes.equals(body.subarray(0, bytes.length)), 'and gives nothing that is wrong')
    const web = async (): Promise<unknown> => new Response((await files.get('a')).web()).arrayBuffer()
    await t.rejects(web(), `byte ${at}, WHATWG`)
  }
  for (const bytes of [whole.subarray(0, -1), Buffer.concat([whole, Buffer.of(0)]), Buffer.of()]) {
    fs.writeFileSync(pathOf('a'), bytes)
    await t.rejects(files.get('a'), { code: 'NotAuthentic' })
  }
  fs.writeFileSync(pathOf('a'), whole)
  fs.copyFileSync(pathOf('a'), pathOf('b'))
  await t.rejects(files.get('b'), { code: 'NotAuthentic' }, 'a file in the place of another one')
  await allClosed('after all of them')
})

t.test('no file stays open', async t => {
  const { files, allClosed } = await fresh(t)
  await files.put('a', randomBytes(3_000_000))
  await buffer((await files.get('a')).stream)
  await allClosed('read to the end')
  ;(await files.get('a')).stream.destroy()
  await allClosed('destroyed before it was read')
  for await (const _ of (await files.get('a')).stream) break
  await allClosed('left in the middle')
  const reader = (await files.get('a')).web().getReader()
  await reader.read()
  await reader.cancel()
  await allClosed('a WHATWG stream that was cancelled in the middle')
  await (await files.get('a')).web().cancel()
  await allClosed('a WHATWG stream that was cancelled before it was read')
  await t.rejects(files.get('a', {}, { signal: AbortSignal.abort(new Error('gone')) }), /gone/)
  await allClosed('a get that was aborted')

  mock.timers.enable({ apis: ['setTimeout'] })
  const unread = await files.get('a')
  const begun = await files.get('a')
  begun.stream.read()
  mock.timers.tick(29_999)
  t.equal(unread.stream.destroyed, false)
  mock.timers.tick(1)
  mock.timers.reset()
  t.strictSame([unread.stream.destroyed, begun.stream.destroyed], [true, false], 'nobody has begun to read')
  await t.rejects(buffer(unread.stream), 'and whoever comes later gets no clean end')
  await t.rejects(new Response(unread.web()).arrayBuffer())
  t.equal((await buffer(begun.stream)).length, 3_000_000, 'a slow reader gets everything')
  await allClosed('a stream that nobody has read')
})

t.test('part files of a process that was killed go when the directory is opened, after a day', async t => {
  const { directory, files } = await fresh(t)
  await files.put('a', 'x')
  const part = (digit: string): string =>
    join(directory, `${fileName('a')}.${digit.repeat(8)}-0000-0000-0000-000000000000.part`)
  const own = join(directory, 'notes.part')
  const old = new Date(Date.now() - 25 * 60 * 60 * 1000)
  for (const path of [part('1'), part('2'), own]) fs.writeFileSync(path, 'x')
  for (const path of [part('1'), own]) fs.utimesSync(path, old, old)
  fs.utimesSync(join(directory, fileName('a')), old, old)
  await sealedFiles({ sse, directory, context })
  const names = fs.readdirSync(directory).map(name => join(directory, name))
  t.strictSame(names.sort(), [join(directory, fileName('a')), part('2'), own].sort())
})
