/** The entry without `node:`. */
import t from 'tap'
import { createSse, customerKey, nobleEngine } from '../../lib/web.ts'

t.test('a passphrase', async t => {
  // #region passphrase
  const salt = crypto.getRandomValues(new Uint8Array(16)) // stored beside the object; not secret
  const phrase = new TextEncoder().encode('correct horse battery staple') // what the user types
  const imported = await crypto.subtle.importKey('raw', phrase, 'PBKDF2', false, ['deriveBits'])
  const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: 600_000 }
  const secret = new Uint8Array(await crypto.subtle.deriveBits(derivation, imported, 256))

  const sse = createSse({ kms: customerKey(nobleEngine, secret), accept: [''] })
  const put = await sse.encrypt()
  const sealed = await new Response(new Blob(['hello']).stream().pipeThrough(put.web())).blob()
  const { envelope } = put.result() // stored beside the sealed bytes
  // #endregion passphrase
  const get = await sse.decrypt(envelope)
  t.equal(await new Response(sealed.stream().pipeThrough(get.web())).text(), 'hello')
})

t.test('a key of one’s own, and Web Streams', async t => {
  // #region web-entry
  const secret = crypto.getRandomValues(new Uint8Array(32)) // keep it: nothing opens without it
  const sse = createSse({ kms: customerKey(nobleEngine, secret), accept: [''] })
  const put = await sse.encrypt()
  const sealed = await new Response(new Blob(['hello']).stream().pipeThrough(put.web())).arrayBuffer()
  const get = await sse.decrypt(put.result().envelope)
  const opened = await new Response(new Blob([sealed]).stream().pipeThrough(get.web())).text()
  // #endregion web-entry
  t.equal(opened, 'hello')
})
