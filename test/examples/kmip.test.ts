/** Master keys in a KMIP server: what its guide shows. */
import { readFile } from 'node:fs/promises'
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
  process.chdir(folder)
  Object.assign(process.env, { KMIP_HOST: '127.0.0.1', KMIP_PORT: port })
  // #region kmip
  const kms = kmipKms({
    instance: 'kmip1', // ids of keys begin with it, so it never changes
    host: process.env['KMIP_HOST'] ?? 'kmip.example.com',
    port: Number(process.env['KMIP_PORT'] ?? 5696),
    tls: {
      ca: await readFile('ca.pem'),
      cert: await readFile('gateway.pem'),
      key: await readFile('gateway.key'),
    },
  })
  const { keyId } = await kms.create('photos') // once: keep the id
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion kmip
  t.match(keyId, /^kmip1:/)
  const encryption = await sse.encrypt()
  const body = await put(encryption, bodyOf(1000))
  t.ok(equal(await get(await sse.decrypt(encryption.result().envelope), body), bodyOf(1000)))
  await kms.disable(keyId)
  await kms.scheduleDeletion(keyId)
  kms.close()
})
