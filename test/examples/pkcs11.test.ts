/** What the guide to PKCS#11 shows, on a token of SoftHSM. Skips, in one line, where it is missing. */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createSse } from '../../lib/index.ts'
import { pkcs11Kms } from '../../lib/kms/pkcs11/pkcs11.ts'
import { noSoftHsm, startSoftHsm } from '../support/pkcs11.ts'

t.test('a key in a token', { skip: noSoftHsm }, async t => {
  const { options, stop } = await startSoftHsm(t.testdir())
  t.teardown(stop)
  process.env['PKCS11_MODULE'] = options.module
  process.env['PKCS11_PIN'] = '1234'
  // #region pkcs11
  const kms = pkcs11Kms({
    instance: 'hsm1', // ids of its keys begin with it
    module: process.env['PKCS11_MODULE'] ?? '', // path of the shared library that came with the token
    token: 'aes-gcm', // its label
    pin: () => process.env['PKCS11_PIN'] ?? '',
  })
  const { keyId } = await kms.create('photos') // once: such as hsm1:id=5C1E0D…
  const sse = createSse({ kms, accept: [keyId] })
  const put = await sse.encrypt()
  // #endregion pkcs11
  const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope)
  t.equal(String(await buffer(Readable.from([stored]).compose(get.stream))), 'Hello')
  sse.dispose()
  await kms.close()
})
