/** What the guide to Vault shows, against the stand-in. */
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
  process.chdir(folder)
  writeFileSync('secret-id', `${vault.secretId}\n`)
  writeFileSync('ca.pem', await readFile(cert))
  Object.assign(process.env, { VAULT_ADDR: vault.address, VAULT_ROLE: vault.roleId })
  // #region vault
  const kms = vaultKms({
    instance: 'vault-main', // full ids begin with it: it never changes
    address: process.env['VAULT_ADDR'] ?? 'https://vault.example.com:8200',
    auth: { method: 'approle', roleId: process.env['VAULT_ROLE'] ?? '', secretId: () => readFile('secret-id', 'utf8') },
    tls: { ca: await readFile('ca.pem', 'utf8') },
  })
  const { keyId } = await kms.describe('photos') // vault-main:transit/photos; rejects unless the key is a derived one
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion vault
  t.equal(keyId, 'vault-main:transit/photos')
  t.ok((await sse.encrypt()).driver)
  await kms.close?.()
})
