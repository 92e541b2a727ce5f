/**
 * A process that uses a key store whose root key is in a file, until it is told to stop: makes, rotates, names and uses keys. It tells all
 * that was acknowledged, and each error.
 */
import { hex } from '../../lib/bytes.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'

const context = encryptionContext({ 'aws:s3:arn': 'arn:aws:s3:::photos/a' })
const tell = (message: object): void => {
  process.send?.(message)
}

const told = { stop: false }

const work = async (directory: string, file: string, shared: string): Promise<void> => {
  const kms = await LocalKms.open(directory, { root: { file }, onWarning: () => undefined })
  const region = 'sichuan'
  for (let i = 0; !told.stop; i++) {
    const scope = { region, domainId: `tenant-${i % 3}` }
    const name = `${process.pid}/${i}`
    const { keyId } = await kms.createKey({ ...scope, alias: name })
    const { key, wrapped } = await kms.generateDataKey({ keyId, context })
    tell({ made: keyId, alias: name, plain: hex(key.bytes), blob: hex(wrapped.blob) })
    const { version } = await kms.rotateKey({ keyId: shared })
    tell({ rotated: shared, version })
    const found = await kms.describeKey({ keyId: `alias/${name}`, scope })
    if (found.keyId !== keyId) throw new Error(`alias ${name} leads to another key`)
    await kms.unwrapDataKey({ wrapped, context })
    // One tenant in each round that may have no default key yet.
    const own = await kms.defaultKey({ region, domainId: `tenant-of-both-${i}` })
    const second = await kms.generateDataKey({ keyId: own.keyId, context })
    tell({
      byDefault: own.keyId,
      of: `tenant-of-both-${i}`,
      plain: hex(second.key.bytes),
      blob: hex(second.wrapped.blob),
    })
    await kms.createAlias({ keyId }, `${name}/2`)
    await kms.deleteAlias(scope, `${name}/2`)
    tell({ deleted: `${name}/2`, domainId: scope.domainId })
  }
  kms.close()
}

process.on('message', message => {
  const [directory = '', file = '', shared = ''] = String(message).split(' ')
  if (directory === 'stop') {
    told.stop = true
    return
  }
  work(directory, file, shared).then(
    () => tell({ done: true }),
    (error: unknown) =>
      tell({
        failed: error instanceof SseError ? `${error.code} ${error.message} ${String(error.cause)}` : String(error),
      }),
  )
})
tell({ ready: true })
