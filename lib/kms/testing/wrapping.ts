/** Cases of the conformance suite: data keys and their blobs. */
import { concat, copy, equal } from '../../bytes.ts'
import type { Engine } from '../../cipher/engine.ts'
import { nodeEngine } from '../../cipher/node.ts'
import { encryptionContext } from '../context.ts'
import type { DataKey } from '../data-key.ts'
import type { DataKeyWrapper, WrappedKey } from '../provider.ts'
import { underOuterKeys, unwrapKey } from '../wrap.ts'
import {
  answerOf,
  checkMemory,
  checkWrapped,
  context,
  fail,
  generate,
  otherContexts,
  rejects,
  unwrapsTo,
  withKey,
  works,
  wrap,
} from './expect.ts'
import { memoryKms } from './memory.ts'
import type { ConformanceCase, SecondProvider } from './setup.ts'

const engine: Engine = nodeEngine

const includes = (blob: Uint8Array, part: Uint8Array): boolean => {
  for (let at = 0; at + part.length <= blob.length; at++) {
    if (equal(blob.subarray(at, at + part.length), part)) return true
  }
  return false
}

const wrapAndUnwrap: ConformanceCase = {
  name: 'wrap and unwrap',
  about:
    'A wrapped key unwraps to itself, under a context with entries and under none, into memory of its own; its blob does not show it.',
  run: ({ kms, keyId }) =>
    withKey(async key => {
      const before = copy(key.bytes)
      for (const each of [context, encryptionContext()]) {
        const target = { keyId, context: each }
        const wrapped = await wrap(kms, key, target)
        if (!isKept(key, before)) fail('wrapDataKey changes the key that it is given. It belongs to the caller.')
        if (includes(wrapped.blob, key.bytes)) fail('The blob has the key in it, in the clear.')
        await unwrapsTo(kms, 'a wrapped key', { wrapped, context: each }, key)
        const again = await answerOf('unwrapDataKey', () => kms.unwrapDataKey({ wrapped, context: each }))
        try {
          checkMemory('The key that unwrapDataKey answers', again)
        } finally {
          again.dispose()
        }
      }
      before.fill(0)
      return undefined
    }),
}

const isKept = (key: DataKey, before: Uint8Array): boolean => {
  try {
    return equal(key.bytes, before)
  } catch {
    return false
  }
}

const generated: ConformanceCase = {
  name: 'generate',
  about: 'A generated key has 32 bytes in memory of its own, is another one each time, and is the one in its blob.',
  run: async ({ kms, keyId }) => {
    const first = await generate(kms, { keyId, context })
    const second = await generate(kms, { keyId, context })
    try {
      checkMemory('The key that generateDataKey answers', first.key)
      if (equal(first.key.bytes, second.key.bytes)) fail('generateDataKey answers the same key twice.')
      for (const { key, wrapped } of [first, second]) await unwrapsTo(kms, 'a generated key', { wrapped, context }, key)
    } finally {
      first.key.dispose()
      second.key.dispose()
    }
    return undefined
  },
}

const anotherContext: ConformanceCase = {
  name: 'another context',
  about:
    'A blob does not unwrap under another context. Where the mechanism takes none, a record without an outer key is refused, and one with it holds.',
  run: ({ kms, keyId }) =>
    withKey(async key => {
      const target = { keyId, context }
      if (kms.bindsContext) {
        const wrapped = await wrap(kms, key, target)
        for (const [what, other] of otherContexts) {
          await rejects(
            `unwrapDataKey under ${what}`,
            () => kms.unwrapDataKey({ wrapped, context: other }),
            'NotAuthentic',
          )
        }
        return undefined
      }
      const direct = await wrap(kms, key, target)
      await rejects(
        'unwrapping a record of wrapAlg 1',
        () => unwrapKey(engine, kms, direct, context, undefined),
        'NotAuthentic',
      )
      const outer = underOuterKeys(engine, kms)
      const wrapped = await answerOf('wrapping under an outer key', () => outer.wrapDataKey(key, target))
      const again = await answerOf('unwrapping a record of wrapAlg 4', () =>
        unwrapKey(engine, kms, wrapped, context, undefined),
      )
      const isSame = equal(again.bytes, key.bytes)
      again.dispose()
      if (!isSame) fail('A key under an outer key unwraps to another key.')
      for (const [what, other] of otherContexts) {
        await rejects(
          `unwrapping a record of wrapAlg 4 under ${what}`,
          () => unwrapKey(engine, kms, wrapped, other, undefined),
          'NotAuthentic',
        )
      }
      return undefined
    }),
}

const atOnce = 8

const tampered: ConformanceCase = {
  name: 'tampered blob',
  about: 'A blob with any one byte changed, cut short, made longer or empty does not unwrap: NotAuthentic.',
  run: ({ kms, keyId }) =>
    withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const { blob } = wrapped
      const changed: (readonly [string, Uint8Array])[] = Array.from(blob, (byte, i) => {
        const other = copy(blob)
        other[i] = byte ^ 1
        return [`byte ${i} of ${blob.length} changed`, other]
      })
      changed.push(
        ['its last byte missing', copy(blob.subarray(0, -1))],
        ['its first byte missing', copy(blob.subarray(1))],
      )
      changed.push(['a byte more', concat(blob, Uint8Array.of(0))], ['no byte', new Uint8Array()])
      for (let i = 0; i < changed.length; i += atOnce) {
        await Promise.all(
          changed.slice(i, i + atOnce).map(([what, other]) => {
            const request = { wrapped: { ...wrapped, blob: other }, context }
            return rejects(`unwrapDataKey of a blob with ${what}`, () => kms.unwrapDataKey(request), 'NotAuthentic')
          }),
        )
      }
      await unwrapsTo(kms, 'the blob as it was', { wrapped, context }, key)
      return undefined
    }),
}

const blobOfAnother: ConformanceCase = {
  name: 'blob of another key',
  about: 'A record that names one key and holds the blob of another does not unwrap, and does not rewrap.',
  run: ({ kms, keyId, otherKeyId }) =>
    withKey(async key => {
      const wrapped: WrappedKey = { ...(await wrap(kms, key, { keyId: otherKeyId, context })), keyId }
      const from = { wrapped, context }
      await rejects('unwrapDataKey', () => kms.unwrapDataKey(from), 'NotAuthentic')
      await rejects('rewrapDataKey', () => kms.rewrapDataKey({ from, to: { keyId, context } }), 'NotAuthentic')
      return undefined
    }),
}

const rewrapWithin: ConformanceCase = {
  name: 'rewrap within',
  about:
    'A wrapped key moves to another key and to another context, and is the same key; the old blob stays as it was.',
  run: ({ kms, keyId, otherKeyId }) =>
    withKey(async key => {
      const [[, other] = ['', context]] = otherContexts
      const wrapped = await wrap(kms, key, { keyId, context })
      const before = copy(wrapped.blob)
      const from = { wrapped, context }
      for (const to of [
        { keyId: otherKeyId, context },
        { keyId, context: other },
        { keyId, context },
      ]) {
        const moved = await answerOf('rewrapDataKey', () => kms.rewrapDataKey({ from, to }))
        checkWrapped(kms, 'the answer of rewrapDataKey', moved, to.keyId)
        await unwrapsTo(kms, 'a rewrapped key', { wrapped: moved, context: to.context }, key)
      }
      if (!equal(wrapped.blob, before)) fail('rewrapDataKey changes the blob that it is given.')
      await unwrapsTo(kms, 'the old blob', from, key)
      if (!kms.bindsContext) return undefined
      const foreign = { wrapped, context: other }
      await rejects(
        'rewrapDataKey from another context',
        () => kms.rewrapDataKey({ from: foreign, to: { keyId, context } }),
        'NotAuthentic',
      )
      return undefined
    }),
}

const rewrapBetween: ConformanceCase = {
  name: 'rewrap between providers',
  about: 'A key moves to another provider and back, and is the same key.',
  run: async ({ kms, keyId, second }) => {
    const there = second ?? (await inMemory())
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const moved = await move(kms, wrapped, there.kms, there.keyId)
      await unwrapsTo(there.kms, 'a key that was moved', { wrapped: moved, context }, key)
      const back = await move(there.kms, moved, kms, keyId)
      await unwrapsTo(kms, 'a key that was moved back', { wrapped: back, context }, key)
    })
    await works(kms, 'a key afterwards', keyId)
    return undefined
  },
}

const inMemory = async (): Promise<SecondProvider> => {
  const kms = memoryKms()
  return { kms, keyId: (await kms.create('second')).keyId }
}

const move = async (
  from: DataKeyWrapper,
  wrapped: WrappedKey,
  to: DataKeyWrapper,
  keyId: string,
): Promise<WrappedKey> => {
  const key = await answerOf('unwrapDataKey', () => from.unwrapDataKey({ wrapped, context }))
  try {
    return await wrap(to, key, { keyId, context })
  } finally {
    key.dispose()
  }
}

/** Data keys and their blobs. */
export const wrapping: readonly ConformanceCase[] = [
  wrapAndUnwrap,
  generated,
  anotherContext,
  tampered,
  blobOfAnother,
  rewrapWithin,
  rewrapBetween,
]
