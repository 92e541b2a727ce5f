/** What went wrong, for people, scripts and the shell: one line with the next step, a stable code and an exit status. */
import { type ErrorCode, errorTable, SseError } from '../errors.ts'

/** The exit statuses; `sse-kms help` lists them too. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notAuthentic: 3,
  interrupted: 130,
  brokenPipe: 141,
} as const

/** A failure as it is reported. */
export interface Failure {
  readonly code: ErrorCode | 'Interrupted' | 'BrokenPipe'
  /** One line; empty where nothing is to be said. */
  readonly message: string
  readonly exitCode: number
}

/** The error of a command line that cannot be meant; `next` says where to look. */
export const usage = (message: string, next = 'See sse-kms help.'): SseError =>
  new SseError('InvalidUsage', { message: `${message}. ${next}` })

const statuses: ReadonlyMap<ErrorCode, number> = new Map<ErrorCode, number>([
  ['InvalidUsage', exitCodes.usage],
  ['InvalidConfig', exitCodes.usage],
  ['NotAuthentic', exitCodes.notAuthentic],
  ['WrongCustomerKey', exitCodes.notAuthentic],
  ['KeyNotAccepted', exitCodes.notAuthentic],
  ['KeyringLocked', exitCodes.notAuthentic],
  ['KeyringCorrupt', exitCodes.notAuthentic],
])

/** Where the library speaks to a server's client or author, and a person at a terminal needs other words. */
const words: ReadonlyMap<ErrorCode, string> = new Map<ErrorCode, string>([
  [
    'NotAuthentic',
    'The input is not authentic: it is damaged, cut or no encrypted file, or belongs to another key or --context. Take a good copy.',
  ],
  [
    'KeyNotAccepted',
    'The file lies under a key that was not given. Run sse-kms inspect to see which, and name its --keyring or --customer-key.',
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

const nextSteps: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'Name one that exists.'],
  ['EISDIR', 'Name a file, not a directory.'],
  ['ENOTDIR', 'Name a path whose parents are directories.'],
  ['EACCES', 'Ask for the permission, or name another path.'],
  ['EPERM', 'Ask for the permission, or name another path.'],
  ['ENOSPC', 'Free some space, and try again.'],
  ['EADDRINUSE', 'Stop what listens there, or name another --listen.'],
])

const systemMessage = (error: SystemError): string =>
  `${error.message}. ${nextSteps.get(error.code) ?? 'Look after the file system, and try again.'}`

const failure = (code: ErrorCode, message: string): Failure => ({
  code,
  message: message.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim(),
  exitCode: statuses.get(code) ?? exitCodes.failed,
})

/** The failure that a thrown value is; `interrupted` says that the run was told to stop. */
export const failureOf = (error: unknown, interrupted: boolean): Failure => {
  if (interrupted && error instanceof Error && error.name === 'AbortError') {
    return {
      code: 'Interrupted',
      message: 'Interrupted. No file was left half written.',
      exitCode: exitCodes.interrupted,
    }
  }
  if (isSystemError(error)) {
    if (error.code === 'EPIPE') return { code: 'BrokenPipe', message: '', exitCode: exitCodes.brokenPipe }
    return failure('FileFailed', systemMessage(error))
  }
  if (error instanceof SseError) {
    const cause = isSystemError(error.cause) ? ` Cause: ${error.cause.message}.` : ''
    const isPlain = error.message === errorTable[error.code][2]
    return failure(error.code, ((isPlain ? words.get(error.code) : undefined) ?? error.message) + cause)
  }
  const message = error instanceof Error ? error.message : String(error)
  const missing = /^Cannot find package '([^']+)'/.exec(message)?.[1]
  if (missing !== undefined) {
    return failure(
      'MissingPeer',
      `This needs the package ${missing}, which is not installed. Run: npm install ${missing}`,
    )
  }
  return failure('InternalError', `Internal error: ${message}. Report it, with the command that you ran.`)
}
