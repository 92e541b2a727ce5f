import fastify from 'fastify'
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

const app = fastify({ logger: { level: 'warn' } })
app.addContentTypeParser(['application/json', 'text/plain', '*'], (_req, _body, done) => done(null)) // bodies stay streams
app.all('/*', async ({ method, url, headers, raw }, reply) => {
  const answer = method === 'PUT' ? await files.put(url, raw) : await files.get(url, headers)
  return reply.code(answer.status).headers(answer.headers).send(answer.stream) // a failure destroys the answer
})
app.setErrorHandler((error, request, reply) => {
  request.log.error(error)
  const { status, headers, body } = errorAnswer(error)
  return reply.code(status).headers(headers).send(body)
})
await app.listen({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' })
