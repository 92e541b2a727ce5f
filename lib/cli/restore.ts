/** `sse-kms restore`: puts a backup into a data folder that has no store yet. */
import { readdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SseError } from '../errors.ts'
import { hasCode, makeDirectory, syncDirectory } from '../files.ts'
import { copyKeyStore } from '../kms/local/copy.ts'
import { LocalKms } from '../kms/local/local.ts'
import { readBackup, restoreStore, snapshotFolder } from '../store/file/backup.ts'
import { assertLocal, fileMeter } from './backup.ts'
import { type Arguments, type Command, command, commonOptions, type Option } from './command.ts'
import { loadConfig } from './config.ts'
import { needPackages, usage } from './failure.ts'
import { formatBytes } from './files.ts'
import { type Io, note, print } from './io.ts'
import { rootKeyFileOption } from './key-options.ts'
import { printable, printableJson } from './printable.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration of the servers, in JSON' },
  data: { value: 'DIR', help: 'data folder to restore into (default: ./data)' },
  'root-key-file': rootKeyFileOption,
  ...commonOptions,
} as const satisfies Record<string, Option>

const assertEmpty = async (data: string, name: string): Promise<void> => {
  const path = join(data, name)
  const names = await readdir(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  })
  if (names.length === 0) return rm(path, { recursive: true, force: true })
  const message = `There is something in ${path}, and a restore overwrites nothing. Name another data folder, or move it away.`
  throw new SseError('FileFailed', { message })
}

const runRestore = async (args: Arguments<keyof typeof options>, io: Io): Promise<void> => {
  needPackages(['zod', 'lmdb'])
  const [given] = args.positionals
  if (given === undefined) throw usage('no folder was given', 'Name the one of the backup: sse-kms restore DIR.')
  const folder = resolve(given)
  const flags = { data: args.text('data'), rootKeyFile: args.text('root-key-file'), makeDemo: false }
  const { config } = await loadConfig(args.text('config'), flags, io.env)
  assertLocal(config, 'restore')
  const { data } = config
  const facts = await readBackup(folder)
  if (facts === undefined) {
    throw new SseError('FileFailed', {
      message: `There is no backup in ${folder}. Name the folder that sse-kms backup was given.`,
    })
  }
  await makeDirectory(data)
  for (const name of ['objects', 'keys']) await assertEmpty(data, name)
  // Beside the places where they belong, until all of it is whole; that of a restore that was cut off is of no use.
  const place = join(data, 'restoring')
  await rm(place, { recursive: true, force: true })
  const hasKeys = await copyKeyStore(join(snapshotFolder(folder, facts), 'keys'), join(place, 'keys'))
  if (hasKeys) await assertUnlocks(join(place, 'keys'), config.rootKey, io)
  const report = await restoreStore(folder, join(place, 'objects'), { onProgress: fileMeter(io), signal: io.signal })
  for (const name of hasKeys ? ['keys', 'objects'] : ['objects']) await rename(join(place, name), join(data, name))
  await rm(place, { recursive: true, force: true })
  await syncDirectory(data)
  const { taken, files, bytes, missing } = report
  if (args.flag('json')) await print(io.stdout, `${printableJson({ ...report, keys: hasKeys })}\n`)
  else {
    const text = `restored ${files} body files of ${formatBytes(bytes)}, the index${hasKeys ? ' and the key store' : ''} as of ${new Date(taken).toISOString()} into ${data}`
    await print(io.stdout, `${printable(text)}\n`)
  }
  if (!hasKeys) await note(io, 'the backup has no key store: the key managers of the configuration must have the keys')
  await note(io, 'check it before servers use it: sse-kms check --deep')
  if (missing.length === 0) return
  const message = `${missing.length} body files are missing in the backup. Run sse-kms check, which names their objects.`
  throw new SseError('StoreFaulty', { message })
}

/** Makes sure that the root key is at hand before anything else is done. */
const assertUnlocks = async (
  directory: string,
  root: Parameters<typeof LocalKms.open>[1]['root'],
  io: Io,
): Promise<void> => {
  try {
    const onWarning = (message: string): void => void note(io, message)
    const kms = await LocalKms.open(directory, { root, create: false, onWarning })
    kms.close()
  } catch (cause) {
    await rm(join(directory, '..'), { recursive: true, force: true })
    if (!(cause instanceof SseError && cause.code === 'KeyringLocked')) throw cause
    const message =
      'The key store of the backup does not open with this root key. Give the root key that it had when the backup was made: ' +
      `--root-key-file, or as in the configuration. Nothing was restored. (${cause.message})`
    throw new SseError('KeyringLocked', { message, cause })
  }
}

/** `sse-kms restore`. */
export const restore: Command = command({
  name: 'restore',
  usage: ['DIR [--config FILE | --data DIR] [--root-key-file FILE]'],
  about: [
    'Restores what sse-kms backup has put into DIR, into a data folder that has neither objects nor keys yet. Bodies are ' +
      'copied, and their sizes checked. The backup stays as it is.',
    'The root key that the key store had when the backup was made must be at hand; another one is refused before anything ' +
      'is restored. Run sse-kms check --deep afterwards, which opens every object.',
  ],
  options,
  examples: [
    'sse-kms restore /backup/sse-kms --config ./sse-kms.json',
    'sse-kms restore /backup/sse-kms --data ./data --root-key-file ./root.key',
  ],
  positionals: 1,
  run: runRestore,
})
