/** `sse-kms rewrap`: moves a self-describing file (SKF1) to another master key. Its data stays encrypted as it is. */
import { createSse } from '../object/node.ts'
import { commandEngine } from './engine.ts'
import { command, type Command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { pump, type Source, withInput } from './files.ts'
import { contextOf, keyringOptions, needKeys, openKmsKeys, outputOptions } from './key-options.ts'

const options = {
  ...keyringOptions,
  to: { value: 'KEY', help: 'the new master key: ARN, id or alias/NAME' },
  from: { value: 'KEY', help: 'refuse files that are encrypted under any other key' },
  ...outputOptions,
  output: { ...outputOptions.output, help: 'write to this file instead of replacing FILE' },
  ...commonOptions,
} as const satisfies Record<string, Option>

async function* joined(prefix: Uint8Array, streams: Source): Source {
  yield prefix
  yield* streams
}

/** `sse-kms rewrap`. */
export const rewrap: Command = command({
  name: 'rewrap',
  usage: [
    'FILE --keyring DIR --to KEY [-o FILE]',
    'FILE [--keyring DIR] --kms aws|vault|FILE … [--from KEY] --to KEY [-o FILE]',
  ],
  about: [
    'Moves an encrypted file to another master key of the key store, or of another key store or key manager, or, after a rotation, to the newest version of its ' +
      'own. The data key stays the same, so the data is copied and not decrypted. FILE is replaced, whole or not at all, ' +
      'unless -o names another, new file (with --force, one that is there).',
    'This does not help if the data key itself leaked: decrypt and encrypt the file again.',
  ],
  options,
  examples: [
    'sse-kms rewrap report.pdf.sse --keyring ./keys --to alias/archive',
    'sse-kms rewrap report.pdf.sse --keyring ./keys --kms aws --to alias/backups',
    'sse-kms rewrap report.pdf.sse --keyring ./keys --to "$key" -o /backup/report.pdf.sse',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const to = args.text('to')
    if (path === undefined) throw usage('name the file to rewrap', 'See sse-kms help rewrap.')
    needKeys(args)
    if (to === undefined) throw usage('rewrap needs --to KEY', 'See sse-kms help rewrap.')
    const context = contextOf(args)
    const output = args.text('output')
    const force = output === undefined || args.flag('force') // without -o the file itself is what is to be replaced
    await withInput(path, io, async ({ file }) => {
      if (file === undefined) throw usage(`${path} is not a regular file`, 'Name a file, not a pipe or a device.')
      const keys = await openKmsKeys(args, io)
      try {
        const target = await keys.choose(to)
        const accept = [...(await keys.accepted(args.text('from'))), target]
        const sse = createSse({ kms: keys.kms, accept, engine: await commandEngine() })
        // Checks the whole file's length first: a truncated file must not get a fresh envelope.
        const { driver } = await sse.decryptFile(file, { context })
        driver.dispose()
        const { prefix, streams } = await sse.rewrapFile(file, { context, to: target })
        const source = joined(prefix, file.bytes(streams))
        const total = prefix.length + streams.end - streams.start + 1
        await pump(io, { source, total, through: [], output: output ?? path, force })
      } finally {
        await keys.close()
      }
    })
  },
})
