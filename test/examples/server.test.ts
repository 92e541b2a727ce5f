/** The README's custom server: plain `node:http`, plain files, bodies sealed while they flow. */
import { randomUUID } from 'node:crypto'
import { createWriteStream, readdirSync } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { answerOf, createSse, errorAnswer, LocalKms, parseRange, randomAccess } from '../../lib/index.ts'

process.env['DATA'] = t.testdir()
process.env['PORT'] = '0'
// #region server
const directory = process.env['DATA'] ?? './data'
const kms = await LocalKms.open(join(directory, 'keys'), { root: { file: join(directory, 'root.key'), create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const sse = createSse({ kms, accept: [keyId] })

const server = createServer(async (req, res) => {
  const path = join(directory, encodeURIComponent(req.url ?? ''))
  const part = `${path}.${randomUUID()}`
  const context = { 'aws:s3:arn': `arn:aws:s3:::bucket${req.url ?? ''}` } // binds the data key to the object's name
  let file: FileHandle | undefined
  try {
    if (req.method === 'PUT') {
      const put = await sse.encrypt({ context, file: true }) // the one KMS call
      await pipeline(req, put.stream, createWriteStream(part, { flush: true }))
      await rename(part, path) // the envelope is in the file: readers see the old object or the new one
      res.writeHead(200, { etag: `"${put.result().etag}"` }).end()
    } else {
      file = await open(path)
      const range = req.headers['if-range'] ? undefined : parseRange(req.headers.range) // it may have changed: the whole
      const get = await sse.decryptFile(await randomAccess(file), { context, range }) // every check before a byte
      const { status, headers } = answerOf(get)
      res.writeHead(status, headers)
      await pipeline(file.createReadStream(get.stored), get.stream, res) // a failure destroys the answer
    }
  } catch (error) {
    console.error(`${req.method} ${req.url}: ${String(error)}`)
    await rm(part, { force: true })
    const { status, headers, body } = errorAnswer(error)
    if (res.headersSent) res.destroy()
    else res.writeHead(status, headers).end(body)
  } finally {
    await file?.close()
  }
})
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1')
// #endregion server

const said: string[] = []
t.capture(console, 'error', (line: string) => said.push(line))

t.test('a custom server in plain node:http', async t => {
  if (!server.listening) await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
    kms.close()
  })
  const address = server.address()
  const { port }: Pick<AddressInfo, 'port'> = typeof address === 'object' && address !== null ? address : { port: 0 }
  const origin = `http://127.0.0.1:${port}`
  const url = `${origin}/cat.jpg`
  const path = join(directory, encodeURIComponent('/cat.jpg'))
  const body = new Uint8Array(300_000).map((_, i) => i % 251)
  const rest = (): readonly string[] => readdirSync(directory).filter(name => /-[0-9a-f]{12}$/.test(name))

  const put = await fetch(url, { method: 'PUT', body })
  t.match(put.headers.get('etag'), /^"[0-9a-f]{32}-1"$/)
  t.equal((await readFile(path)).includes(body.subarray(1000, 1100)), false, 'the plaintext is not on disk')

  const get = await fetch(url)
  t.match(
    [get.status, get.headers.get('etag'), get.headers.get('accept-ranges')],
    [200, put.headers.get('etag'), 'bytes'],
  )
  t.ok(Buffer.from(await get.arrayBuffer()).equals(body))

  const ranges = {
    'bytes=70000-200000': [70_000, 200_001],
    'bytes=-5': [299_995, 300_000],
    'bytes=299999-': [299_999, 300_000],
  }
  for (const [range, [start = 0, end]] of Object.entries(ranges)) {
    const answer = await fetch(url, { headers: { range } })
    t.equal(answer.status, 206, range)
    t.equal(answer.headers.get('content-range'), `bytes ${start}-${(end ?? 0) - 1}/300000`)
    t.ok(Buffer.from(await answer.arrayBuffer()).equals(body.subarray(start, end)))
  }
  const several = await fetch(url, { headers: { range: 'bytes=0-1,5-6' } })
  t.match(
    [several.status, (await several.arrayBuffer()).byteLength],
    [200, 300_000],
    'several ranges: the whole object',
  )
  const resumed = await fetch(url, { headers: { range: 'bytes=5-', 'if-range': '"another"' } })
  t.match([resumed.status, (await resumed.arrayBuffer()).byteLength], [200, 300_000], 'If-Range: the whole object')
  const beyond = await fetch(url, { headers: { range: 'bytes=300000-' } })
  t.match([beyond.status, beyond.headers.get('content-range')], [416, 'bytes */300000'])
  t.match(await beyond.text(), /^RangeNotSatisfiable: /)
  const missing = await fetch(`${origin}/missing`)
  t.match([missing.status, await missing.text()], [404, /no such object/])

  const bodies = [1, 2, 3].map(n => new Uint8Array(1_000_000).fill(n))
  const puts = await Promise.all(bodies.map(each => fetch(url, { method: 'PUT', body: each })))
  t.strictSame(
    puts.map(({ status }) => status),
    [200, 200, 200],
    'three at once',
  )
  const winner = await fetch(url)
  const won = Buffer.from(await winner.arrayBuffer())
  t.ok(
    bodies.some(each => won.equals(each)),
    'one of them, whole',
  )
  t.ok(puts.some(({ headers }) => headers.get('etag') === winner.headers.get('etag')))

  const aborted = request(url, { method: 'PUT', headers: { 'content-length': 1_000_000 } })
  aborted.on('error', () => undefined).write(new Uint8Array(200_000))
  while (rest().length === 0) await setTimeout(5)
  aborted.destroy()
  while (rest().length > 0) await setTimeout(5)
  t.ok(
    Buffer.from(await (await fetch(url)).arrayBuffer()).equals(won),
    'an aborted PUT leaves the old object, and nothing else',
  )

  const empty = await fetch(`${origin}/empty`, { method: 'PUT', body: '' })
  t.equal(empty.status, 200)
  t.equal((await (await fetch(`${origin}/empty`)).arrayBuffer()).byteLength, 0)

  const stored = await readFile(path)
  stored[100_000] = (stored[100_000] ?? 0) ^ 1
  await writeFile(path, stored)
  await t.rejects(
    fetch(url).then(answer => answer.arrayBuffer()),
    'a changed body never ends cleanly',
  )
  stored[20] = (stored[20] ?? 0) ^ 1
  await writeFile(path, stored)
  const refused = await fetch(url)
  t.equal(refused.ok, false, 'a changed envelope')
  t.notMatch(await refused.text(), new RegExp(directory))
  t.match(said.at(-1), /^GET \/cat\.jpg: SseError/)
})
