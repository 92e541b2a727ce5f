/** `sse-kms backup`: a backup of a data folder whose servers run, and each further one of what has changed since. */
import { join, resolve } from 'node:path'
import { SseError } from '../errors.ts'
import { copyKeyStore } from '../kms/local/copy.ts'
import { backupStore } from '../store/file/backup.ts'
import { type Arguments, type Command, command, commonOptions, type Option } from './command.ts'
import { type Config, loadConfig } from './config.ts'
import { needPackages, usage } from './failure.ts'
import { formatBytes } from './files.ts'
import { type Io, note, print } from './io.ts'
import { printable, printableJson } from './printable.ts'
import { objectsFolder } from './beside.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration of the servers, in JSON' },
  data: { value: 'DIR', help: 'folder of keys and objects (default: ./data)' },
  copy: { help: 'copy bodies, where hard links would do: for a backup that is to outlive damage of the files' },
  ...commonOptions,
} as const satisfies Record<string, Option>

const elsewhere = (what: string): SseError => new SseError('InvalidUsage', { message: what })

/** Refuses a store that this program does not back up. */
export const assertLocal = ({ store }: Pick<Config, 'store'>, verb: string): void => {
  if (store === undefined || (store.embedded && store.files)) return
  throw elsewhere(
    store.embedded
      ? `The bodies are in S3-compatible storage, which sse-kms does not ${verb}. Stop the servers and copy objects/index and keys of the data ` +
          'folder; let the storage keep the bodies: versioning or replication of the bucket, and graceSeconds of at least the age of the oldest backup.'
      : `The index is in PostgreSQL, which sse-kms does not ${verb}. Use pg_dump or a base backup for it, and versioning or replication of the ` +
          'bucket or file system for the bodies; let graceSeconds be at least the age of the oldest backup.',
  )
}

/** Shows on a terminal how many files were looked at. */
export const fileMeter = ({ stderr }: Io): ((files: number, of: number) => void) => {
  let last = 0
  return (files, of) => {
    if (stderr.isTTY !== true || (Date.now() - last < 200 && files < of)) return
    last = Date.now()
    stderr.write(`\r\u001b[K${files === of ? '' : `${files} of ${of} files`}`)
  }
}

const runBackup = async (args: Arguments<keyof typeof options>, io: Io): Promise<void> => {
  needPackages(['zod', 'lmdb'])
  const [folder] = args.positionals
  if (folder === undefined) throw usage('no folder was given', 'Name the one of the backup: sse-kms backup DIR.')
  const { config } = await loadConfig(args.text('config'), { data: args.text('data'), makeDemo: false }, io.env)
  assertLocal(config, 'back up')
  let hasKeys = false
  const report = await backupStore(objectsFolder(config), resolve(folder), {
    copy: args.flag('copy'),
    beside: async place => {
      hasKeys = await copyKeyStore(join(config.data, 'keys'), join(place, 'keys'))
    },
    onProgress: fileMeter(io),
    signal: io.signal,
  })
  const { files, bytes, added, dropped, missing } = report
  if (args.flag('json')) await print(io.stdout, `${printableJson({ ...report, keys: hasKeys })}\n`)
  else {
    const text = `backed up ${files} body files of ${formatBytes(bytes)} (${added} new, ${dropped} dropped), the index${hasKeys ? ' and the key store' : ''} to ${folder}`
    await print(io.stdout, `${printable(text)}\n`)
  }
  if (hasKeys)
    await note(io, 'the root key is not in the backup: keep it elsewhere, the one that the key store has now')
  if (missing.length === 0) return
  const message = `The backup is made, but the store itself has lost ${missing.length} of its body files. Run sse-kms check, which names their objects.`
  throw new SseError('StoreFaulty', { message })
}

/** `sse-kms backup`. */
export const backup: Command = command({
  name: 'backup',
  usage: ['DIR [--config FILE | --data DIR] [--copy]'],
  about: [
    'Backs up the index, the bodies and the embedded key store of a data folder while its servers run, as of one moment. ' +
      'Everything that was acknowledged before it began is in it. Bodies are hard links where the folder is on the same ' +
      'file system, else copies. A further backup into the same folder takes what is new and drops what is not needed any ' +
      'more; one that is interrupted leaves the one before as it was.',
    'The root key, the configuration and its secrets are not in the backup. An index in PostgreSQL and bodies in ' +
      'S3-compatible storage are backed up with their own tools.',
  ],
  options,
  examples: ['sse-kms backup /backup/sse-kms --config ./sse-kms.json', 'sse-kms backup ./backup --data ./data --copy'],
  positionals: 1,
  run: runBackup,
})
