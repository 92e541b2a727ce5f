import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { createSse, errorAnswer, LocalKms } from 'sse-kms-streams'
import { sealedFiles } from 'sse-kms-streams/files'

const data = process.env.DATA ?? './data'
const kms = await LocalKms.open(`${data}/keys`, { root: { file: `${data}/root.key`, create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
const files = await sealedFiles({
  sse: createSse({ kms, accept: [keyId] }),
  directory: `${data}/objects`,
  context: path => ({ 'aws:s3:arn': `arn:aws:s3:::bucket${path}` }), // binds the data key to the object's name
})

createServer(async (req, res) => {
  const { method, url: path = '/' } = req
  try {
    const answer = method === 'PUT' ? await files.put(path, req) : await files.get(path, req.headers)
    res.writeHead(answer.status, answer.headers)
    await pipeline(answer.stream, res) // a failure destroys the answer: it never ends like a complete one
  } catch (error) {
    console.error(`${method} ${path}: ${error}`)
    const { status, headers, body } = errorAnswer(error)
    if (!res.headersSent) res.writeHead(status, headers).end(body)
  }
}).listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
