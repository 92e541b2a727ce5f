/** `sse-kms encrypt`: encrypts a file or a pipe into a self-describing file (SKF1). */
import { type SuiteId } from '../cipher/suite.ts'
import { createSse } from '../object/node.ts'
import { commandEngine } from './engine.ts'
import { command, type Command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { type Input, pump, type Source, withInput } from './files.ts'
import { contextOf, keyOptions, openKeys, outputOptions } from './key-options.ts'

const options = {
  ...keyOptions,
  key: {
    value: 'KEY',
    help: 'the master key: ARN, id or alias/NAME (default: the oldest of the key store, or its default)',
  },
  suite: { value: 'N', help: '1: AES-256-GCM (default), 2: Cobblestone-256, 3: ChaCha20-Poly1305, 5: large segments' },
  ...outputOptions,
  ...commonOptions,
} as const satisfies Record<string, Option>

const suites: ReadonlyMap<string, SuiteId> = new Map([
  ['1', 1],
  ['2', 2],
  ['3', 3],
  ['5', 5],
])

const suiteOf = (text: string): SuiteId => {
  const suite = suites.get(text)
  if (suite === undefined) throw usage(`--suite ${text} is unknown: use 1, 2, 3 or 5`)
  return suite
}

/** Where to read. The length of an empty file counts as unknown, since files of /proc have size 0 whatever they hold. */
const sourceOf = ({ file, pipe }: Input): { readonly source: Source; readonly length: number | undefined } =>
  file === undefined ? { source: pipe, length: undefined } : { source: file.bytes(), length: file.size || undefined }

/** `sse-kms encrypt`. */
export const encrypt: Command = command({
  name: 'encrypt',
  usage: [
    '--keyring DIR [--key KEY] [FILE] [-o FILE]',
    '--kms aws|vault|FILE --key KEY [FILE] [-o FILE]',
    '--customer-key FILE [FILE] [-o FILE]',
  ],
  about: [
    'Encrypts FILE, or stdin, to stdout or to the file that -o names, which must be new unless --force is given. The output says how it was encrypted (see sse-kms ' +
      'inspect), but does not contain the key. The length of a file is stored at the front; the length of a pipe is ' +
      'known only at the end.',
    'Entries of the encryption context are stored in the clear, and must be the same for decryption. An entry whose ' +
      'name begins with "aws:" is not stored: give it again to decrypt.',
  ],
  options,
  examples: [
    'sse-kms encrypt --keyring ./keys report.pdf -o report.pdf.sse',
    'tar c photos | sse-kms encrypt --keyring ./keys --key alias/photos > photos.tar.sse',
    'sse-kms encrypt --kms aws --key alias/backups report.pdf -o report.pdf.sse',
    'sse-kms encrypt --customer-key ./my.key --context project=atlas notes.txt -o notes.sse',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const output = args.text('output')
    const force = args.flag('force')
    const suite = suiteOf(args.text('suite') ?? '1')
    const context = contextOf(args)
    if (output === undefined && io.stdout.isTTY === true) {
      throw usage('the output is binary, and stdout is a terminal', 'Name a file with -o FILE, or force it with -o -.')
    }
    await withInput(path, io, async input => {
      const keys = await openKeys(args, io)
      try {
        const accept = [await keys.choose(args.text('key'))]
        const { source, length } = sourceOf(input)
        const sse = createSse({ kms: keys.kms, accept, suite, engine: await commandEngine() })
        const { stream } = await sse.encrypt({ context, length, file: true })
        await pump(io, { source, total: length, through: [stream], output, force })
      } finally {
        await keys.close()
      }
    })
  },
})
