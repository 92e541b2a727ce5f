/**
 * The errors that several files of this folder throw: InvalidArgument as S3 details it, and a denial. No rule is decided here.
 */

import { SseError, type ErrorCode } from '../errors.ts'

/**
 * An error about one header or element, with `ArgumentName` and `ArgumentValue` as S3 gives them: `null` stands for a header that was not
 * sent. Never pass key material as the value.
 */
export const badArgument = (
  message: string,
  name: string,
  value: string | undefined,
  code: ErrorCode = 'InvalidArgument',
): SseError => new SseError(code, { message, details: { ArgumentName: name, ArgumentValue: value ?? 'null' } })

/** 403 AccessDenied with a message of its own. */
export const denied = (message: string): SseError => new SseError('AccessDenied', { message })
