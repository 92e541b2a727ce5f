/** What goes wrong with a KMIP server, as errors: answers that cannot be right, connections that break, and refusals by their reason. */
import { type ErrorCode, SseError } from '../../errors.ts'

/** Throws `KmsUnavailable`: the server's answer is none of KMIP, or not one to what was asked. */
export const wrongAnswer = (reason: string): never => {
  const message =
    'The KMIP server gave an answer that cannot be right, so nothing was done with it. Look at the cause on the server.'
  throw new SseError('KmsUnavailable', { message, cause: new TypeError(`the answer: ${reason}`) })
}

/** The server could not be reached, or the connection broke. */
export const unreachable = (cause: unknown): SseError =>
  new SseError('KmsUnavailable', {
    message:
      'The KMIP server cannot be reached. Check host, port and certificates with the cause on the server, and try again later.',
    cause,
  })

/** Reasons that something is decided by. */
export const reasons = {
  itemNotFound: 0x01,
  responseTooLarge: 0x02,
  authenticationNotSuccessful: 0x03,
  invalidField: 0x07,
  cryptographicFailure: 0x0a,
  permissionDenied: 0x0c,
  objectArchived: 0x0d,
  objectAlreadyExists: 0x18,
  nonUniqueName: 0x35,
  objectDestroyed: 0x36,
  objectNotFound: 0x37,
  notAuthorised: 0x39,
  serverLimitExceeded: 0x3a,
  incompatibleUsageMask: 0x29,
  generalFailure: 0x100,
} as const

/** What a reason means for the caller, and what is to be done. */
const meanings: ReadonlyMap<number, readonly [code: ErrorCode, message: string | undefined]> = new Map([
  [reasons.itemNotFound, ['KeyNotFound', undefined]],
  [reasons.objectNotFound, ['KeyNotFound', undefined]],
  [reasons.objectDestroyed, ['KeyNotFound', undefined]],
  [reasons.objectArchived, ['KeyDisabled', 'The key is archived in the KMIP server. Recover it there.']],
  [
    reasons.authenticationNotSuccessful,
    [
      'KeyAccessDenied',
      'The KMIP server does not let this client in. Check its certificate, its key, and user name and password.',
    ],
  ],
  [
    reasons.responseTooLarge,
    [
      'KmsUnavailable',
      'The answer of the KMIP server would be too long: there are many keys. Allow more with maxAnswer.',
    ],
  ],
  [reasons.serverLimitExceeded, ['KmsThrottled', undefined]],
])
const denied: ReadonlySet<number> = new Set([
  reasons.permissionDenied,
  reasons.notAuthorised,
  reasons.incompatibleUsageMask,
])

/** A refusal that the state of the key may be the reason for: servers word it in many ways. */
export const maybeByState = ({ reason }: Refusal): boolean => denied.has(reason) || !meanings.has(reason)

/** A refusal: an operation that the server answered with a failure. */
export class Refusal extends Error {
  /** Name of the operation. */
  readonly operation: string
  /** Why, a number of KMIP. */
  readonly reason: number

  /** `said` is the server's own text; what cannot be printed is left out, and most of what is long. */
  constructor(operation: string, reason: number, said: string) {
    super(`${operation}: reason ${reason}: ${said.replace(/[^ -~]/g, '').slice(0, 200)}`)
    this.name = 'Refusal'
    this.operation = operation
    this.reason = reason
  }
}

/** What a refusal means for who called, where the state of the key is not what it is about. */
export const refusalError = (refusal: Refusal): SseError => {
  const { operation, reason } = refusal
  const [code, message] = meanings.get(reason) ?? []
  if (code !== undefined) return new SseError(code, { message, cause: refusal })
  if (denied.has(reason)) {
    const right =
      `The KMIP server denies ${operation} with this key. Give this client the right to it, ` +
      'and the key the usage mask Encrypt and Decrypt.'
    return new SseError('KeyAccessDenied', { message: right, cause: refusal })
  }
  const other = `The KMIP server failed at ${operation}, reason ${reason} of KMIP. Look at the cause on the server.`
  return new SseError('KmsUnavailable', { message: other, cause: refusal })
}
