/** What the guide to Vault shows, against the stand-in. */
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { makeCertificate, noOpenssl } from '../support/certificate.ts'
import { FakeVault } from '../support/vault.ts'
import { readFile } from 'node:fs/promises'
import { createSse } from '../../lib/index.ts'
import { vaultKms } from '../../lib/kms/vault/vault.ts'

t.test('a Vault as key manager', { skip: noOpenssl }, async t => {
  const folder = t.testdir()
  const { cert, key } = makeCertificate(folder)
  const vault = await new FakeVault({ cert: String(await readFile(cert)), key: String(await readFile(key)) }).start()
  t.teardown(() => vault.stop())
  const operator = vaultKms({
    instance: 'o',
    address: vault.address,
    auth: { method: 'token', token: vault.root },
    tls: { ca: String(await readFile(cert)) },
  })
  await operator.create?.('photos')
  await operator.close?.()
  const [secretFile, caFile] = [join(folder, 'secret-id'), cert]
  writeFileSync(secretFile, `${vault.secretId}\n`)
  const { roleId, address } = vault
  // #region vault
  const kms = vaultKms({
    instance: 'vault-main', // full ids begin with it: it never changes
    address, // https://vault.example.com:8200
    auth: { method: 'approle', roleId, secretId: () => readFile(secretFile, 'utf8') },
    tls: { ca: await readFile(caFile, 'utf8') },
  })
  const { keyId } = await kms.describe('photos') // vault-main:transit/photos; rejects unless the key is a derived one
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion vault
  t.equal(keyId, 'vault-main:transit/photos')
  t.ok((await sse.encrypt()).driver)
  await kms.close?.()
})
