/** Checks of what the façade is given, before anything is made or asked. */
import { assertBytes, assertFunctions, assertOptions, assertText, ifGiven, wrongArgument } from '../arguments.ts'
import type { SegmentMemory } from '../cipher/memory.ts'
import { fromText } from '../envelope/envelope.ts'
import type { RangeRequest } from '../segment/layout.ts'
import type { RandomAccess } from './file.ts'
import type {
  CopyOptions,
  DecryptOptions,
  EncryptOptions,
  KeyOptions,
  SseOptions,
  StoredUpload,
  TargetOptions,
} from './options.ts'

const assertAccept = (name: string, accept: unknown): void => {
  const takes = 'an array with the ids of the master keys that objects may lie under'
  if (!Array.isArray(accept)) return wrongArgument(name, takes, accept)
  for (const key of accept) {
    if (typeof key !== 'string') {
      assertOptions(`a key of ${name}`, key, 'the id of a master key, or { provider, keyId }')
      assertText(`provider of a key of ${name}`, key.provider, 'the name of a key manager')
      if (typeof key.keyId !== 'string') wrongArgument(`keyId of a key of ${name}`, 'the id of a master key', key.keyId)
    }
  }
}

/** What `createSse` is given. */
export const assertSseOptions = (options: Omit<SseOptions, 'engine'>): void => {
  assertOptions('createSse', options, 'an object with kms and accept')
  const managers = [options.kms].flat()
  if (managers.length === 0) wrongArgument('kms', 'a key manager', options.kms)
  const calls = ['generateDataKey', 'wrapDataKey', 'unwrapDataKey', 'rewrapDataKey']
  for (const manager of managers) {
    assertFunctions('kms', manager, 'a key manager, such as LocalKms, or an array of them', calls)
    assertText('the name of a key manager', manager.name)
  }
  assertAccept('accept', options.accept)
}

/** What every call is given. */
export const assertKeyOptions = (call: KeyOptions): void => {
  assertOptions('the last argument', call)
  ifGiven(call.signal, signal => assertFunctions('signal', signal, 'an AbortSignal', ['throwIfAborted']))
  ifGiven(call.customerKey, key => assertBytes('customerKey', key, 'a key of 32 bytes: a Uint8Array or Buffer'))
  ifGiven(call.accept, accept => assertAccept('accept', accept))
}

/** What names the key of something new. */
export const assertTarget = (target: TargetOptions): void => {
  assertKeyOptions(target)
  ifGiven(target.keyId, keyId => assertText('keyId', keyId, 'the id of a master key'))
}

const assertMemory = (memory: SegmentMemory): void =>
  assertFunctions('memory', memory, 'a SegmentMemory', ['take', 'give'])

/** What `encrypt` is given. */
export const assertEncryptOptions = (call: EncryptOptions): void => {
  assertTarget(call)
  ifGiven(call.values, values => {
    if (typeof values !== 'function') wrongArgument('values', 'a function', values)
  })
  ifGiven(call.memory, assertMemory)
}

const assertRange = (range: RangeRequest): void =>
  assertOptions('range', range, '{ start, end } or { suffix }: parse a Range header first')

/** What `decrypt` is given besides the envelope. */
export const assertDecryptOptions = (call: DecryptOptions): void => {
  assertKeyOptions(call)
  ifGiven(call.range, assertRange)
  ifGiven(call.values, values => assertBytes('values', values))
  ifGiven(call.memory, assertMemory)
  ifGiven(call.held, held => {
    if (typeof held !== 'number') wrongArgument('held', 'a number of bytes', held)
  })
  ifGiven(call.etag, etag => {
    assertText('etag', etag)
    if (etag.startsWith('"')) throw new TypeError('etag is taken without quotes')
  })
}

/** What a copy is given. */
export const assertCopyOptions = (call: CopyOptions): void => {
  assertDecryptOptions(call)
  assertOptions('to', call.to, 'an object with the key and context of the copy')
  assertTarget(call.to)
}

/** A stored upload. */
export const assertUpload = (upload: StoredUpload): void => {
  assertOptions('the first argument', upload, 'a stored upload: { uploadId, session }')
  if (typeof upload.uploadId !== 'string') wrongArgument('uploadId', 'text', upload.uploadId)
  assertBytes('session', upload.session)
}

/** A file that can be read anywhere. */
export const assertFile = (file: RandomAccess): void => {
  assertFunctions('the first argument', file, 'a file that can be read anywhere: { size, read }', ['read'])
  if (typeof file.size !== 'number') wrongArgument('size of a file', 'a number of bytes', file.size)
}

/** The bytes of an envelope, which may come as text. */
export const envelopeBytes = (envelope: Uint8Array | string): Uint8Array => {
  if (typeof envelope !== 'string') {
    assertBytes('envelope', envelope, 'its bytes (Uint8Array, Buffer) or its text (base64url without padding)')
    return envelope
  }
  return fromText(envelope)
}
