/** The entry without `node:`. */
import t from 'tap'
import { createSse, customerKey, nobleEngine } from '../../lib/web.ts'

t.test('a key of one’s own, and Web Streams', async t => {
  const secret = crypto.getRandomValues(new Uint8Array(32))
  // #region web-entry
  const sse = createSse({ kms: customerKey(nobleEngine, secret), accept: [''] })
  const put = await sse.encrypt()
  const sealed = await new Response(new Blob(['hello']).stream().pipeThrough(put.web())).arrayBuffer()
  const get = await sse.decrypt(put.result().envelope)
  const opened = await new Response(new Blob([sealed]).stream().pipeThrough(get.web())).text()
  // #endregion web-entry
  t.equal(opened, 'hello')
})
