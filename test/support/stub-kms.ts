/** Providers over keys that a test names, with the real wraps of lib; they count their calls. */
import { hex } from '../../lib/bytes.ts'
import type { Engine } from '../../lib/cipher/engine.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { randomBytes } from '../../lib/cipher/random.ts'
import { SseError } from '../../lib/errors.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import type { KmsProvider, UnwrapRequest, WrappedKey, WrapTarget } from '../../lib/kms/provider.ts'
import { localVersion, unwrapLocal, wrapLocal } from '../../lib/kms/wrap.ts'

/** A provider that counts. */
export interface CountingKms extends KmsProvider {
  readonly calls: { generate: number; wrap: number; unwrap: number; rewrap: number }
}

/** Keys by id, then by version. */
export type LocalKeys = Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>

/** The provider `local` over given keys; it wraps under version 1. */
export const stubLocal = (keys: LocalKeys, engine: Engine = nodeEngine): CountingKms => {
  const calls = { generate: 0, wrap: 0, unwrap: 0, rewrap: 0 }
  const keyOf = (keyId: string, version: number): Uint8Array => {
    const key = keys[keyId]?.[version]
    if (key === undefined) throw new SseError('NotAuthentic')
    return key
  }
  const wrap = async (key: DataKey, { keyId, context }: WrapTarget): Promise<WrappedKey> => {
    const blob = await wrapLocal(engine, keyOf(keyId, 1), 1, key, context)
    return { provider: 'local', keyId, wrapAlg: 2, blob }
  }
  const unwrap = async ({ wrapped, context }: UnwrapRequest): Promise<DataKey> =>
    unwrapLocal(engine, keyOf(wrapped.keyId, localVersion(wrapped.blob)), wrapped.blob, context)
  return {
    ...unused,
    name: 'local',
    calls,
    generateDataKey: async target => {
      calls.generate++
      const key = new DataKey(randomBytes(32))
      return { key, wrapped: await wrap(key, target) }
    },
    wrapDataKey: (key, target) => {
      calls.wrap++
      return wrap(key, target)
    },
    unwrapDataKey: request => {
      calls.unwrap++
      return unwrap(request)
    },
    rewrapDataKey: async ({ from, to }) => {
      calls.rewrap++
      return wrap(await unwrap(from), to)
    },
  }
}

/** An answer of a KMS: this blob unwraps to this key, under this context (any, where the mechanism takes none) and no other. */
export interface Answer {
  readonly provider: string
  readonly keyId: string
  readonly blob: string
  readonly context: string | null
  readonly key: string
}

/** A provider that answers what it is told and refuses every other question. */
export const stubAnswers = (name: string, answers: readonly Answer[]): CountingKms => {
  const calls = { generate: 0, wrap: 0, unwrap: 0, rewrap: 0 }
  return {
    ...unused,
    name,
    calls,
    unwrapDataKey: async ({ wrapped, context }) => {
      calls.unwrap++
      const found = answers.find(
        answer =>
          answer.provider === wrapped.provider &&
          answer.keyId === wrapped.keyId &&
          answer.blob === hex(wrapped.blob) &&
          wrapped.wrapAlg === 1 &&
          (answer.context ?? hex(context.canonical)) === hex(context.canonical),
      )
      if (found === undefined) throw new SseError('NotAuthentic')
      return new DataKey(Uint8Array.from(Buffer.from(found.key, 'hex')))
    },
  }
}

const refuse = async (): Promise<never> => {
  throw new SseError('KeyNotFound')
}

const unused = {
  generateDataKey: refuse,
  wrapDataKey: refuse,
  unwrapDataKey: refuse,
  rewrapDataKey: refuse,
  describeKey: refuse,
  defaultKey: refuse,
  acceptedKeys: refuse,
  bindsContext: true,
}
