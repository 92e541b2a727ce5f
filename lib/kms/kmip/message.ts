/** Requests and their answers: one operation each, with the header that KMIP wants. */
import { Refusal, reasons, wrongAnswer } from './failure.ts'
import { operations, type Operation, tags, values } from './tags.ts'
import { encodeItem, enumeration, integer, type Item, itemOf, parseItem, structure, text } from './ttlv.ts'

/** A version of the protocol: the first with associated data for AES-GCM is 1.4; from 2.0 on attributes are written otherwise. */
export type KmipVersion = '1.4' | '2.0'

/** User name and password, where the server wants them besides the certificate. */
export interface KmipCredential {
  /** Name of the user. */
  readonly username: string
  /** The user's password. */
  readonly password?: string | undefined
}

/** What every request says of itself. */
export interface RequestSetup {
  readonly version: KmipVersion
  readonly credential: KmipCredential | undefined
  /** Bytes of the longest answer. */
  readonly maxAnswer: number
}

const authentication = ({ username, password }: KmipCredential): Item =>
  structure(
    tags.authentication,
    structure(
      tags.credential,
      enumeration(tags.credentialType, values.usernameAndPassword),
      structure(
        tags.credentialValue,
        text(tags.username, username),
        ...(password === undefined ? [] : [text(tags.password, password)]),
      ),
    ),
  )

/** The bytes of a request, in memory of their own: they may hold a data key and a password, and the caller wipes them. */
export const encodeRequest = (setup: RequestSetup, operation: Operation, payload: readonly Item[]): Uint8Array => {
  const [major, minor] = setup.version === '1.4' ? [1, 4] : [2, 0]
  const header = structure(
    tags.requestHeader,
    structure(tags.protocolVersion, integer(tags.major, major), integer(tags.minor, minor)),
    integer(tags.maximumResponseSize, setup.maxAnswer),
    ...(setup.credential === undefined ? [] : [authentication(setup.credential)]),
    integer(tags.batchCount, 1),
  )
  const item = structure(
    tags.batchItem,
    enumeration(tags.operation, operations[operation]),
    structure(tags.requestPayload, ...payload),
  )
  return encodeItem(structure(tags.requestMessage, header, item))
}

/**
 * The payload of an answer. Throws a {@link Refusal} where the server says no, and `KmsUnavailable` where the answer is malformed or is
 * one to another operation. Byte strings are views of what was given.
 */
export const parseAnswer = (answer: Uint8Array, operation: Operation): readonly Item[] => {
  const message = parseItem(answer)
  if (message.tag !== tags.responseMessage || message.type !== 'structure') return wrongAnswer('it is no response')
  const [first, second, ...more] = message.value
  if (first?.tag !== tags.responseHeader || first.type !== 'structure') return wrongAnswer('it has no header')
  if (second?.tag !== tags.batchItem || second.type !== 'structure') return wrongAnswer('it has no result')
  if (more.length > 0 || itemOf(first.value, tags.batchCount, 'integer') !== 1)
    return wrongAnswer('it has more results')
  const result = second.value
  const status = itemOf(result, tags.resultStatus, 'enumeration')
  if (status === values.failed) {
    const reason = itemOf(result, tags.resultReason, 'enumeration') ?? reasons.generalFailure
    throw new Refusal(operation, reason, itemOf(result, tags.resultMessage, 'text') ?? '')
  }
  if (status !== values.success) return wrongAnswer(`its status is ${status}`)
  if (itemOf(result, tags.operation, 'enumeration') !== operations[operation]) {
    return wrongAnswer('it is one to another operation')
  }
  return itemOf(result, tags.responsePayload, 'structure') ?? wrongAnswer('it has no payload')
}
