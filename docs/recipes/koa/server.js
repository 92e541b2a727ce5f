import Koa from 'koa'
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

const app = new Koa()
app.use(async ctx => {
  const { method, url, req, headers } = ctx
  const answer = await (method === 'PUT' ? files.put(url, req) : files.get(url, headers)).catch(error => {
    app.emit('error', error, ctx)
    return errorAnswer(error)
  })
  ctx.status = answer.status
  ctx.set(answer.headers)
  ctx.body = 'body' in answer ? answer.body : answer.stream // a failure destroys the answer
})
app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
