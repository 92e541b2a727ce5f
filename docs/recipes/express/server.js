import express from 'express'
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

const app = express()
app.use(async (req, res) => {
  const answer = req.method === 'PUT' ? await files.put(req.path, req) : await files.get(req.path, req.headers)
  res.writeHead(answer.status, answer.headers)
  await pipeline(answer.stream, res) // a failure destroys the answer: it never ends like a complete one
})
/** @type {express.ErrorRequestHandler} */
const answerError = (error, req, res, next) => {
  console.error(`${req.method} ${req.path}: ${error}`)
  const { status, headers, body } = errorAnswer(error)
  return res.headersSent ? next(error) : res.writeHead(status, headers).end(body)
}
app.use(answerError)
app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
