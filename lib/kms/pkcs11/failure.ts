/** What goes wrong in a token, as errors of a provider. Messages go to clients: neither the module's path nor the token's label is in them. */
import { type ErrorCode, SseError } from '../../errors.ts'

/** Name of a PKCS#11 return value, such as `CKR_PIN_INCORRECT`; `undefined` where the error is another one. */
export const returnValue = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined
  const name = /\bCKR_[A-Z_]+/.exec(error.message)?.[0]
  if (name !== 'CKR_VENDOR_DEFINED') return name
  // pkcs11js knows the values of version 2.40. The number is in `code`, or behind the name.
  const number = 'code' in error ? error.code : Number(/:(\d+)/.exec(error.message)?.[1])
  return newer.get(number) ?? name
}

/** Return values of version 3. */
const newer: ReadonlyMap<unknown, string> = new Map([
  [0x1b, 'CKR_ACTION_PROHIBITED'],
  [0x35, 'CKR_AEAD_DECRYPT_FAILED'],
])

const wrongPin = 'The token refuses the PIN, which is not tried again: tokens lock after a few wrong ones. Check pin.'
const notWritable = 'The token or this user may not change keys. Log in as a user who may, or make keys by other means.'

const rows: Readonly<Record<string, readonly [code: ErrorCode, message?: string]>> = {
  CKR_PIN_INCORRECT: ['KeyAccessDenied', wrongPin],
  CKR_PIN_INVALID: ['KeyAccessDenied', wrongPin],
  CKR_PIN_LEN_RANGE: ['KeyAccessDenied', wrongPin],
  CKR_PIN_EXPIRED: ['KeyAccessDenied', 'The PIN of the token has expired. Set a new one with the tools of the token.'],
  CKR_PIN_LOCKED: ['KeyAccessDenied', 'The PIN of the token is locked. Unlock it with the tools of the token.'],
  CKR_USER_PIN_NOT_INITIALIZED: ['KeyAccessDenied', 'The token has no user PIN. Set one with the tools of the token.'],
  CKR_USER_NOT_LOGGED_IN: ['KmsUnavailable', 'The token has logged the user out. Try again.'],
  CKR_USER_ANOTHER_ALREADY_LOGGED_IN: [
    'KeyAccessDenied',
    'The process is logged in to the token as the security officer. Log that one out.',
  ],
  CKR_KEY_FUNCTION_NOT_PERMITTED: ['KeyDisabled'],
  CKR_KEY_HANDLE_INVALID: ['KeyNotFound'],
  CKR_OBJECT_HANDLE_INVALID: ['KeyNotFound'],
  CKR_WRAPPING_KEY_HANDLE_INVALID: ['KeyNotFound'],
  CKR_UNWRAPPING_KEY_HANDLE_INVALID: ['KeyNotFound'],
  CKR_MECHANISM_INVALID: [
    'KmsUnavailable',
    'The token does not have the mechanism. Set mechanism to the other one, if the token has that.',
  ],
  CKR_SESSION_COUNT: [
    'KmsUnavailable',
    'The token has no session left. Lower sessions, or end other users of the token.',
  ],
  CKR_TOKEN_WRITE_PROTECTED: ['KeyAccessDenied', notWritable],
  CKR_SESSION_READ_ONLY: ['KeyAccessDenied', notWritable],
  CKR_ACTION_PROHIBITED: ['KeyAccessDenied', notWritable],
}

/** The error as a provider rejects with it, the return value kept as its cause. */
export const asFailure = (error: unknown): unknown => {
  const name = returnValue(error)
  if (error instanceof SseError || name === undefined) return error
  const [code, message] = rows[name] ?? [
    'KmsUnavailable',
    `The token answered ${name}. Look at the token on the server, and try again.`,
  ]
  return new SseError(code, { message, cause: error })
}

const ended: ReadonlySet<string | undefined> = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_SLOT_ID_INVALID',
  'CKR_DEVICE_REMOVED',
  'CKR_DEVICE_ERROR',
])

/** Whether the sessions are of no use any more after an error. */
export const endsSessions = (error: unknown): boolean => ended.has(returnValue(error))

const refused: ReadonlySet<string | undefined> = new Set([
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_AEAD_DECRYPT_FAILED',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
])

/** What an error of unwrapping says of the blob: it is not authentic, it may be so (some tokens say no more than "error"), or nothing. */
export const saysOfBlob = (error: unknown): 'refused' | 'unclear' | 'nothing' => {
  const name = returnValue(error)
  if (refused.has(name)) return 'refused'
  return name === 'CKR_GENERAL_ERROR' || name === 'CKR_FUNCTION_FAILED' ? 'unclear' : 'nothing'
}

/** Whether the token refused the PIN: each try more may lock it. */
export const refusesPin = (error: unknown): boolean => returnValue(error)?.startsWith('CKR_PIN_') === true
