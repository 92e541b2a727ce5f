/** The README's custom server: plain `node:http`, plain files, bodies sealed while they flow. */
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { createSse, LocalKms } from '../../lib/index.ts'

process.env['DATA'] = t.testdir()
// #region server
const directory = process.env['DATA'] ?? './data'
const kms = await LocalKms.open(join(directory, 'keys'), { root: { file: join(directory, 'root.key'), create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const sse = createSse({ kms, accept: [keyId] })

const server = createServer(async (req, res) => {
  const path = join(directory, encodeURIComponent(req.url ?? ''))
  const context = { 'aws:s3:arn': `arn:aws:s3:::bucket${req.url ?? ''}` } // binds the data key to the object's name
  try {
    if (req.method === 'PUT') {
      const put = await sse.encrypt({ context }) // the one KMS call
      await pipeline(req, put.stream, createWriteStream(`${path}.part`))
      await writeFile(`${path}.envelope`, put.result().envelope)
      await rename(`${path}.part`, path)
      res.end(put.result().etag)
    } else {
      const get = await sse.decrypt(await readFile(`${path}.envelope`), { context }) // every check before a byte
      res.setHeader('content-length', get.length)
      await pipeline(createReadStream(path, get.stored), get.stream, res) // a failure destroys the answer
    }
  } catch {
    if (res.headersSent) res.destroy()
    else res.writeHead(500).end()
  }
})
// #endregion server

t.test('a custom server in plain node:http', async t => {
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    server.close()
    kms.close()
  })
  const address = server.address()
  const { port }: Pick<AddressInfo, 'port'> = typeof address === 'object' && address !== null ? address : { port: 0 }
  const url = `http://127.0.0.1:${port}/cat.jpg`
  const body = new Uint8Array(300_000).map((_, i) => i % 251)
  const put = await fetch(url, { method: 'PUT', body })
  t.match(await put.text(), /^[0-9a-f]{32}-1$/)
  const get = await fetch(url)
  t.ok(Buffer.from(await get.arrayBuffer()).equals(body))
  const path = join(directory, encodeURIComponent('/cat.jpg'))
  const stored = await readFile(path)
  t.equal(stored.includes(body.subarray(1000, 1100)), false, 'the plaintext is not on disk')
  stored[100_000] = (stored[100_000] ?? 0) ^ 1
  await writeFile(path, stored)
  await t.rejects(
    fetch(url).then(answer => answer.arrayBuffer()),
    'a changed body never ends cleanly',
  )
  t.equal((await fetch(`http://127.0.0.1:${port}/missing`)).status, 500)
  await t.rejects(readFile(join(directory, encodeURIComponent('/missing'))), { code: 'ENOENT' })
})
