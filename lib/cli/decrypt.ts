/** `sse-kms decrypt`: decrypts a self-describing file (SKF1), or a range of it. */
import { createSse, type Sse } from '../object/node.ts'
import type { KeyOptions } from '../object/options.ts'
import type { RangeRequest } from '../segment/layout.ts'
import { commandEngine } from './engine.ts'
import { command, type Command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { type Input, pump, type PumpOptions, withInput } from './files.ts'
import { contextOf, keyOptions, openKeys, outputOptions } from './key-options.ts'

const options = {
  ...keyOptions,
  key: { value: 'KEY', help: 'refuse files that are encrypted under any other key' },
  range: { value: 'RANGE', help: 'only these bytes: A-B (both included), A- (to the end) or -N (the last N)' },
  ...outputOptions,
  ...commonOptions,
} as const satisfies Record<string, Option>

/** `A-B`, `A-` or `-N`. */
const rangeOf = (text: string | undefined): RangeRequest | undefined => {
  if (text === undefined) return undefined
  const [, first = '', last = ''] = /^(\d*)-(\d*)$/.exec(text) ?? []
  const [a, b] = [Number(first), Number(last)]
  const fits = Number.isSafeInteger(a) && Number.isSafeInteger(b) && (first === '' || last === '' || a <= b)
  if (!fits || first + last === '') throw usage(`--range ${text} is not A-B, A- or -N`)
  if (first === '') return { suffix: b }
  return last === '' ? { start: a } : { start: a, end: b }
}

type ReadOptions = KeyOptions & { readonly range?: RangeRequest | undefined }

const opened = async (sse: Sse, input: Input, read: ReadOptions): Promise<Omit<PumpOptions, 'output' | 'force'>> => {
  if (input.file === undefined) {
    const { stream } = await sse.decryptPipe(read)
    return { source: input.pipe, total: undefined, through: [stream] }
  }
  const { stream, stored } = await sse.decryptFile(input.file, read)
  return { source: input.file.bytes(stored), total: stored.end - stored.start + 1, through: [stream] }
}

/** `sse-kms decrypt`. */
export const decrypt: Command = command({
  name: 'decrypt',
  usage: [
    '--keyring DIR [--range RANGE] [FILE] [-o FILE]',
    '--kms aws|vault|FILE [--key KEY] [--range RANGE] [FILE] [-o FILE]',
    '--customer-key FILE [--range RANGE] [FILE] [-o FILE]',
  ],
  about: [
    'Decrypts FILE, or stdin, to stdout or to the file that -o names, which must be new unless --force is given. Only files under keys of the key store, or keys that the key manager lists, are ' +
      'decrypted. From a file, a range reads only the segments that it needs; from a pipe, everything is read and verified.',
    'Every byte is verified before it is written. But the first bytes of a pipe are written before its end is seen, and ' +
      'a truncated input is noticed only there: check the exit status, or use -o, which writes no file then.',
  ],
  options,
  examples: [
    'sse-kms decrypt --keyring ./keys report.pdf.sse -o report.pdf',
    'sse-kms decrypt --keyring ./keys < photos.tar.sse | tar x',
    'sse-kms decrypt --keyring ./keys --range 0-1023 big.sse | xxd',
    'sse-kms decrypt --kms aws --key alias/backups report.pdf.sse -o report.pdf',
    'sse-kms decrypt --customer-key ./my.key --context project=atlas notes.sse',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const output = args.text('output')
    const force = args.flag('force')
    const range = rangeOf(args.text('range'))
    const context = contextOf(args)
    await withInput(path, io, async input => {
      const keys = await openKeys(args, io)
      try {
        const sse = createSse({
          kms: keys.kms,
          accept: await keys.accepted(args.text('key')),
          engine: await commandEngine(),
        })
        await pump(io, { ...(await opened(sse, input, { context, range })), output, force })
      } finally {
        await keys.close()
      }
    })
  },
})
