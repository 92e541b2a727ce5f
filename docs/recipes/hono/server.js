import { serve } from '@hono/node-server'
import { Hono } from 'hono'
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

const app = new Hono()
app.all('*', async ({ req }) => {
  const answer = await (req.method === 'PUT' ? files.put(req.path, req.raw.body) : files.get(req.path, req.header()))
  if (req.method === 'HEAD') answer.stream.destroy() // Hono would leave it unread
  return new Response(answer.web(), answer) // a failure destroys the answer
})
app.onError((error, { req }) => {
  console.error(`${req.method} ${req.path}: ${error}`)
  const { status, headers, body } = errorAnswer(error)
  return new Response(body, { status, headers })
})
serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 8080), hostname: '127.0.0.1' })
