/** `sse-kms rewrap`: a self-describing file (SKF1) under another master key; its data stays as it is, encrypted. */
import { createSse } from '../object/node.ts'
import type { Option } from './arguments.ts'
import { command, type Command, commonOptions } from './command.ts'
import { usage } from './failure.ts'
import { type Source, withInput } from './input.ts'
import { pump } from './pump.ts'
import { contextOf, keyringOptions, openKeyring } from './sse-options.ts'

const options = {
  ...keyringOptions,
  to: { value: 'KEY', help: 'the new master key: ARN, id or alias/NAME' },
  output: { value: 'FILE', short: 'o', help: 'write there instead of over FILE' },
  ...commonOptions,
} as const satisfies Record<string, Option>

async function* joined(prefix: Uint8Array, streams: Source): Source {
  yield prefix
  yield* streams
}

/** `sse-kms rewrap`. */
export const rewrap: Command = command({
  name: 'rewrap',
  usage: ['FILE --keyring DIR --to KEY [-o FILE]'],
  about: [
    'Moves an encrypted file to another master key of the key store, or to the newest version of its own after ' +
      'a rotation. Its data key stays the same, so its data is copied, not decrypted. FILE is replaced, whole or ' +
      'not at all, unless -o names another.',
    'This does not help where the data key itself leaked: decrypt and encrypt then.',
  ],
  options,
  examples: [
    'sse-kms rewrap report.pdf.sse --keyring ./keys --to alias/archive',
    'sse-kms rewrap report.pdf.sse --keyring ./keys --to "$key" -o /backup/report.pdf.sse',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const directory = args.text('keyring')
    const to = args.text('to')
    if (path === undefined) throw usage('name the file to rewrap', 'See sse-kms help rewrap.')
    if (directory === undefined || to === undefined) {
      throw usage('rewrap needs --keyring DIR and --to KEY', 'See sse-kms help rewrap.')
    }
    const context = contextOf(args)
    await withInput(path, io, async ({ file }) => {
      if (file === undefined) throw usage(`${path} is no file that can be read anywhere`, 'Name a file, not a pipe.')
      const keys = await openKeyring(directory, args, io)
      try {
        const keyId = await keys.choose(to)
        const sse = createSse({ kms: keys.kms, accept: await keys.accepted(undefined) })
        const whole = await sse.decryptFile(file, { context })
        whole.driver.dispose() // its checks are what was wanted: a file that is cut must not be taken for a good one afterwards
        const { prefix, streams } = await sse.rewrapFile(file, { context, to: { keyId } })
        const source = joined(prefix, file.bytes(streams))
        const total = prefix.length + streams.end - streams.start + 1
        await pump(io, { source, total, through: [], output: args.text('output') ?? path })
      } finally {
        keys.close()
      }
    })
  },
})
