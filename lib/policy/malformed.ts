/** The one error of a policy document, which names the place. */

import { SseError } from '../errors.ts'

/** The error of everything that is wrong in a policy: `place` says where, `message` what, and what to write instead. */
export const malformed = (place: string, message: string): SseError =>
  new SseError('MalformedPolicy', { message: `${place}: ${message}` })

/** A text of the policy, quoted and cut, for messages. */
export const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
