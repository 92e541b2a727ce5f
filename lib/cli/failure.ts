/** How an error is reported: one line with the next step, a stable code and an exit status. */
import { type ErrorCode, errorTable, SseError } from '../errors.ts'
import { printable } from './printable.ts'

/** The exit statuses. `sse-kms help` lists them too. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notAuthentic: 3,
  faulty: 4,
  interrupted: 130,
  brokenPipe: 141,
} as const

/** A failure as it is reported. */
export interface Failure {
  readonly code: ErrorCode | 'Interrupted' | 'BrokenPipe'
  /** One line; empty where nothing is printed. */
  readonly message: string
  readonly exitCode: number
}

/** The error of a wrong command line. `next` says what to do. */
export const usage = (message: string, next = 'See sse-kms help.'): SseError =>
  new SseError('InvalidUsage', { message: `${message}. ${next}` })

const isInstalled = (name: string): boolean => {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

/** Checks that optional packages are installed. Throws `MissingPeer`, which names all that are missing and the line that installs them. */
export const needPackages = (names: readonly string[]): void => {
  const missing = names.filter(name => !isInstalled(name))
  if (missing.length > 0) throw new SseError('MissingPeer', { message: missingMessage(missing) })
}

const missingMessage = (names: readonly string[]): string =>
  names.length === 1
    ? `This needs the package ${names.join()}, which is not installed. Run: npm install ${names.join()}`
    : `This needs ${names.length} packages that are not installed. Run: npm install ${names.join(' ')}`

const statuses: ReadonlyMap<ErrorCode, number> = new Map<ErrorCode, number>([
  ['InvalidUsage', exitCodes.usage],
  ['InvalidConfig', exitCodes.usage],
  ['InvalidSetup', exitCodes.usage],
  ['RootKeyRefused', exitCodes.usage],
  ['NotAuthentic', exitCodes.notAuthentic],
  ['WrongCustomerKey', exitCodes.notAuthentic],
  ['KeyNotAccepted', exitCodes.notAuthentic],
  ['KeyringLocked', exitCodes.notAuthentic],
  ['KeyringCorrupt', exitCodes.notAuthentic],
  ['StoreFaulty', exitCodes.faulty],
])

/** Replaces default messages of the library, which address clients and authors of a server. */
const messages: ReadonlyMap<ErrorCode, string> = new Map<ErrorCode, string>([
  [
    'NotAuthentic',
    'The input is not authentic: it is damaged, truncated or not an encrypted file, or it belongs to another key or --context. Use an intact copy.',
  ],
  [
    'KeyNotAccepted',
    'The file is encrypted under a key that was not given. Run sse-kms inspect to see which, and name its --keyring or --customer-key.',
  ],
  [
    'WrongCustomerKey',
    'The customer key is not the one that the file was encrypted with. Name the right --customer-key.',
  ],
  ['LengthMismatch', 'The input changed its length while it was read. Try again.'],
])

interface SystemError extends Error {
  readonly code: string
  readonly syscall: string
}

const isSystemError = (error: unknown): error is SystemError =>
  error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string'

/** What to do about an error of the system, by its code. */
const remedies: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'Name one that exists.'],
  ['EISDIR', 'Name a file, not a directory.'],
  ['ENOTDIR', 'Name a path whose parents are directories.'],
  ['EACCES', 'Ask for the permission, or name another path.'],
  ['EPERM', 'Ask for the permission, or name another path.'],
  ['ENOSPC', 'Free some space, and try again.'],
  ['EADDRINUSE', 'Stop what listens there, or name another --listen.'],
])

const systemMessage = (error: SystemError): string =>
  `${error.message}. ${remedies.get(error.code) ?? 'Check the file system, and try again.'}`

const failure = (code: ErrorCode, message: string): Failure => ({
  code,
  message: printable(message.replaceAll(/\s+/g, ' ').trim()),
  exitCode: statuses.get(code) ?? exitCodes.failed,
})

/** What a command that was told to stop ends with, where there is more to say. */
export class Interrupted extends Error {
  override readonly name = 'AbortError'
}

/** How to report a thrown value. `interrupted` says that the run was told to stop. */
export const failureOf = (error: unknown, interrupted: boolean): Failure => {
  if (interrupted && error instanceof Error && error.name === 'AbortError') {
    return {
      code: 'Interrupted',
      message: error instanceof Interrupted ? error.message : 'Interrupted. No file was left half written.',
      exitCode: exitCodes.interrupted,
    }
  }
  if (isSystemError(error)) {
    if (error.code === 'EPIPE') return { code: 'BrokenPipe', message: '', exitCode: exitCodes.brokenPipe }
    return failure('FileFailed', systemMessage(error))
  }
  if (error instanceof SseError) {
    // A message of the key store names no file: the cause does.
    const { cause } = error
    const isCause = isSystemError(cause) || (error.code === 'KeyringCorrupt' && cause instanceof Error)
    const detail = isCause && !(cause instanceof SseError) ? ` Cause: ${cause.message}.` : ''
    const isDefault = error.message === errorTable[error.code].message
    return failure(error.code, ((isDefault ? messages.get(error.code) : undefined) ?? error.message) + detail)
  }
  const message = error instanceof Error ? error.message : String(error)
  const missing = /^Cannot find package '([^']+)'/.exec(message)?.[1]
  if (missing !== undefined) return failure('MissingPeer', missingMessage([missing]))
  return failure('InternalError', `Internal error: ${message}. Report it, with the command that you ran.`)
}
