/** `sse-kms inspect`: what an encrypted file, or another record of the format, says of itself. Needs no key, and proves nothing. */
import { concat, equal, fromBase64url, utf8 } from '../bytes.ts'
import { filePrefixSize, maxEnvelope } from '../envelope/envelope.ts'
import { SseError } from '../errors.ts'
import { type RandomAccess, readFileEnvelope } from '../object/file.ts'
import type { Option } from './arguments.ts'
import { type Claims, fileClaims, recordClaims } from './claims.ts'
import { describeClaims } from './claims-text.ts'
import { command, type Command, commonOptions } from './command.ts'
import { usage } from './failure.ts'
import { type Source, withInput } from './input.ts'
import { print } from './io.ts'

const options = {
  envelope: { value: 'TEXT', help: 'an envelope, session or receipt in base64url, instead of a file' },
  ...commonOptions,
} as const satisfies Record<string, Option>

/** The most bytes in front of a file's streams. */
const longestFront = filePrefixSize + maxEnvelope

const unreadable = (): SseError =>
  new SseError('NotAuthentic', {
    message: 'This is no encrypted file, envelope, session or receipt of this format, or it is damaged.',
  })

/** The claims of bytes that can be read anywhere; `isWhole` says that nothing follows them. */
const claimsOf = async (file: RandomAccess, isWhole: boolean): Promise<Claims> => {
  if (file.size < 4) throw unreadable()
  if (equal(await file.read(0, 3), utf8('SKF1'))) {
    const { envelope, at } = await readFileEnvelope(file)
    return fileClaims(envelope, at, isWhole ? file.size - at : null)
  }
  if (file.size > maxEnvelope) throw unreadable()
  return recordClaims(await file.read(0, file.size - 1))
}

const inMemory = (bytes: Uint8Array): RandomAccess => ({
  size: bytes.length,
  read: async (start, end) => bytes.slice(start, end + 1),
})

const claimsOfPipe = async (pipe: Source): Promise<Claims> => {
  let front: Uint8Array = new Uint8Array(0)
  for await (const chunk of pipe) {
    front = concat(front, chunk)
    if (front.length > longestFront) return claimsOf(inMemory(front), false)
  }
  return claimsOf(inMemory(front), true)
}

const plainly = async (claims: Promise<Claims>): Promise<Claims> => {
  try {
    return await claims
  } catch (error) {
    throw error instanceof SseError && error.code === 'NotAuthentic' ? unreadable() : error
  }
}

/** `sse-kms inspect`. */
export const inspect: Command = command({
  name: 'inspect',
  usage: ['[FILE] [--json]', '--envelope TEXT [--json]'],
  about: [
    'Shows what an encrypted file says: suite, lengths, parts, master key, encryption context. Needs no key, ' +
      'and so proves nothing: whoever can write the file can make it say anything. Only decrypting tells what is ' +
      'true.',
  ],
  options,
  examples: [
    'sse-kms inspect report.pdf.sse',
    'sse-kms inspect --json < report.pdf.sse',
    'sse-kms inspect --envelope "$text"',
  ],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    const text = args.text('envelope')
    if (text !== undefined && path !== undefined) throw usage('--envelope and a file exclude each other')
    const bytes = text === undefined ? undefined : fromBase64url(text)
    if (text !== undefined && bytes === undefined) throw usage('--envelope is not base64url without padding')
    const claims = await plainly(
      bytes === undefined
        ? withInput(path, io, ({ file, pipe }) => (file === undefined ? claimsOfPipe(pipe) : claimsOf(file, true)))
        : claimsOf(inMemory(bytes), true),
    )
    await print(io.stdout, args.flag('json') ? `${JSON.stringify(claims, undefined, 2)}\n` : describeClaims(claims))
  },
})
