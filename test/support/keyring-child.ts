/**
 * A process that uses key stores: started by tests that race or kill it. It is told what to do and tells what it has done, one message
 * for each change that was acknowledged, and one at the end.
 */
import { LocalKms } from '../../lib/kms/local/local.ts'
import { bytes } from './vectors.ts'

const scope = { region: 'sichuan', domainId: 'tenant-1' }
const tell = (message: object): void => {
  process.send?.(message)
}

const jobs: ReadonlyMap<string, (kms: LocalKms, keyId: string) => Promise<void>> = new Map([
  ['default', async kms => tell(await kms.defaultKey(scope))],
  [
    'rotate',
    async (kms, keyId) => {
      for (let i = 0; i < 10; i++) await kms.rotateKey({ keyId })
    },
  ],
  [
    'change',
    async (kms, keyId) => {
      for (let i = 0; ; i++) {
        const key = await kms.createKey({ ...scope, alias: `${process.pid}/${i}` })
        tell({ made: key.keyId, alias: `${process.pid}/${i}` })
        tell({ rotated: keyId, version: (await kms.rotateKey({ keyId })).version })
        tell({ rotated: key.keyId, version: (await kms.rotateKey({ keyId: key.keyId })).version })
        tell({ disabled: (await kms.disableKey({ keyId: key.keyId })).keyId })
      }
    },
  ],
])

process.on('message', async message => {
  const [job = '', directory = '', root = '', keyId = ''] = String(message).split(' ')
  const kms = await LocalKms.open(directory, { root: { key: bytes(root) } })
  await jobs.get(job)?.(kms, keyId)
  kms.close()
  tell({ done: job })
})
tell({ done: 'start' })
