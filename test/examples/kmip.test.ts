/** Master keys in a KMIP server: what its guide shows. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { equal } from '../../lib/bytes.ts'
import { createSse } from '../../lib/index.ts'
import { kmipKms } from '../../lib/kms/kmip/kmip.ts'
import { bodyOf, get, put } from '../support/body.ts'
import { kmipMissing, startKmip } from '../support/kmip.ts'

t.test('KMIP', { skip: kmipMissing }, async t => {
  const server = await startKmip()
  t.teardown(() => server.stop())
  const { folder, port } = server
  const host = '127.0.0.1'
  // #region kmip
  const kms = kmipKms({
    instance: 'kmip1', // ids of keys begin with it, so it never changes
    host,
    port,
    tls: {
      ca: await readFile(join(folder, 'ca.pem')),
      cert: await readFile(join(folder, 'gateway.pem')),
      key: await readFile(join(folder, 'gateway.key')),
    },
  })
  const { keyId } = await kms.create('photos') // once: keep the id
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion kmip
  t.match(keyId, /^kmip1:/)
  const encryption = await sse.encrypt()
  const body = await put(encryption, bodyOf(1000))
  t.ok(equal(await get(await sse.decrypt(encryption.result().envelope), body), bodyOf(1000)))
  // #region kmip-end
  await kms.disable(keyId) // for good: KMIP has no way back
  await kms.scheduleDeletion(keyId) // at once: what lies under the key cannot be read any more
  kms.close()
  // #endregion kmip-end
})
