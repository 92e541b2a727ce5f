/**
 * A key manager for tests, in memory: real AES-256-GCM with the context as associated data, states of keys, versions, and faults at a test's
 * word. Its keys are gone with the process.
 *
 *     blob        u32 key version ‖ nonce[12] ‖ ciphertext[32] ‖ tag[16]
 */
import { concat, copy, getU32, u32, wipe } from '../../bytes.ts'
import type { Engine } from '../../cipher/engine.ts'
import { nodeEngine } from '../../cipher/node.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize, nonceSize, tagSize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { EncryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import { contextDigest } from '../digest.ts'
import { checkInstance, holdsKeysOf, type KeyManager, type ManagedKey } from '../manager.ts'
import type { CallOptions, KeyState, UnwrapRequest, WrappedKey, WrapTarget } from '../provider.ts'
import { generateKey } from '../wrap.ts'

/**
 * What goes wrong with a call: `throttled` and `unavailable` reject, `hang` answers nothing until the call is aborted, `lie` names another
 * key in the answer, and `delay` answers after that many milliseconds.
 */
export type MemoryFault = 'throttled' | 'unavailable' | 'hang' | 'lie' | MemoryDelay

/** Makes a call slow. */
export interface MemoryDelay {
  /** Milliseconds. */
  readonly delay: number
}

/** How {@link memoryKms} behaves. */
export interface MemoryKmsOptions {
  /** Name of the instance; `memory` where left out. */
  readonly instance?: string | undefined
  /** Whether blobs fail under another context; yes where left out. */
  readonly bindsContext?: boolean | undefined
  /** What computes; `node:crypto` where left out. */
  readonly engine?: Engine | undefined
  /** Asked at each call, by the name of its method: what goes wrong with it, if anything. */
  readonly fault?: ((method: string) => MemoryFault | undefined) | undefined
}

/** What {@link memoryKms} makes: all that a key manager may do. */
export type MemoryKms = Required<KeyManager> & AsyncDisposable

interface MemoryKey {
  readonly keyId: string
  readonly name: string
  readonly created: number
  readonly versions: Uint8Array[]
  state: KeyState
  deletion: number | undefined
}

const aead = 'AEAD_AES_256_GCM'
const blobSize = 4 + nonceSize + keySize + tagSize
const day = 86_400_000

/**
 * A key manager named `memory`. It has no keys at first: `create` makes them.
 *
 * {@includeCode ../../../test/examples/provider.test.ts#memory}
 */
export const memoryKms = (options: MemoryKmsOptions = {}): MemoryKms => {
  const { bindsContext = true, engine = nodeEngine, fault = () => undefined } = options
  const instance = checkInstance(options.instance ?? 'memory')
  const keys = new Map<string, MemoryKey>()

  const aadOf = (context: EncryptionContext): Uint8Array => (bindsContext ? contextDigest(context) : new Uint8Array())
  const find = (keyId: string): MemoryKey => {
    const key = keys.get(keyId)
    if (key === undefined) throw new SseError('KeyNotFound')
    return key
  }
  const usable = (keyId: string): MemoryKey => {
    const key = find(keyId)
    if (key.state === 'disabled') throw new SseError('KeyDisabled')
    if (key.state === 'pending-deletion') throw new SseError('KeyPendingDeletion')
    return key
  }
  const tell = ({ keyId, name, created, versions, state, deletion }: MemoryKey): ManagedKey => {
    return { keyId, name, created, version: versions.length, state, ...(deletion === undefined ? {} : { deletion }) }
  }
  const make = (name: string): MemoryKey => {
    if (!/^[A-Za-z0-9_-]{1,200}$/.test(name)) throw new RangeError('the name of a key is 1 to 200 of [A-Za-z0-9_-]')
    const taken = [...keys.values()].find(key => key.name === name && key.state !== 'pending-deletion')
    if (taken !== undefined) return taken
    const keyId = `${instance}:${crypto.randomUUID()}`
    const key: MemoryKey = {
      keyId,
      name,
      created: Date.now(),
      versions: [randomBytes(keySize)],
      state: 'enabled',
      deletion: undefined,
    }
    keys.set(keyId, key)
    return key
  }

  const seal = async (dataKey: DataKey, { keyId, context }: WrapTarget): Promise<WrappedKey> => {
    const { versions } = usable(keyId)
    const master = versions.at(-1) ?? new Uint8Array()
    const nonce = randomBytes(nonceSize)
    const sealed = await engine.seal(aead, master, nonce, dataKey.bytes, aadOf(context))
    return { provider: 'memory', keyId, wrapAlg: 1, blob: concat(u32(versions.length), nonce, sealed) }
  }
  const open = async ({ wrapped: { provider, keyId, wrapAlg, blob }, context }: UnwrapRequest): Promise<DataKey> => {
    if (provider !== 'memory' || wrapAlg !== 1) throw new SseError('NotAuthentic')
    const { versions } = usable(keyId)
    const master = blob.length === blobSize ? versions[getU32(blob) - 1] : undefined
    if (master === undefined) throw new SseError('NotAuthentic')
    const nonce = blob.subarray(4, 4 + nonceSize)
    return new DataKey(copy(await engine.open(aead, master, nonce, blob.subarray(4 + nonceSize), aadOf(context))))
  }

  /** One call, with what goes wrong with it. `lie` makes another answer of an answer. */
  const answer = async <T>(
    method: string,
    call: CallOptions | undefined,
    work: () => Promise<T> | T,
    lie: (answer: T) => T,
  ): Promise<T> => {
    const signal = call?.signal
    signal?.throwIfAborted()
    const found = fault(method)
    if (found === 'throttled') throw new SseError('KmsThrottled')
    if (found === 'unavailable') throw new SseError('KmsUnavailable')
    if (found === 'hang') await waiting(undefined, signal)
    if (typeof found === 'object') await waiting(found.delay, signal)
    const right = await work()
    return found === 'lie' ? lie(right) : right
  }
  const lyingId = <T extends { readonly keyId: string }>(told: T): T => ({ ...told, keyId: `${told.keyId}-other` })
  const change = (
    method: string,
    keyId: string,
    call: CallOptions | undefined,
    work: (key: MemoryKey) => void,
  ): Promise<ManagedKey> =>
    answer(
      method,
      call,
      () => {
        const key = find(keyId)
        work(key)
        return tell(key)
      },
      lyingId,
    )

  const close = (): void => {
    for (const { versions } of keys.values()) wipe(...versions)
    keys.clear()
  }

  return {
    name: 'memory',
    instance,
    bindsContext,
    holds: holdsKeysOf(instance),
    generateDataKey: (target, call) =>
      answer(
        'generateDataKey',
        call,
        () => generateKey(key => seal(key, target)),
        ({ key, wrapped }) => ({ key, wrapped: lyingId(wrapped) }),
      ),
    wrapDataKey: (key, target, call) => answer('wrapDataKey', call, () => seal(key, target), lyingId),
    unwrapDataKey: (request, call) =>
      answer(
        'unwrapDataKey',
        call,
        () => open(request),
        key => {
          key.dispose()
          return new DataKey(randomBytes(keySize))
        },
      ),
    rewrapDataKey: ({ from, to }, call) =>
      answer(
        'rewrapDataKey',
        call,
        async () => {
          const key = await open(from)
          try {
            return await seal(key, to)
          } finally {
            key.dispose()
          }
        },
        lyingId,
      ),
    describe: (keyId, call) => answer('describe', call, () => tell(find(keyId)), lyingId),
    find: (name, call) =>
      answer(
        'find',
        call,
        () => [...keys.values()].filter(key => key.name === name).map(tell),
        told => told.map(lyingId),
      ),
    list: (call?: CallOptions) =>
      answer(
        'list',
        call,
        () => [...keys.values()].map(tell),
        told => told.map(lyingId),
      ),
    create: (name, call) => answer('create', call, () => tell(make(name)), lyingId),
    rotate: (keyId, call) =>
      change('rotate', keyId, call, () => {
        usable(keyId).versions.push(randomBytes(keySize))
      }),
    enable: (keyId, call) =>
      change('enable', keyId, call, key => {
        if (key.state === 'pending-deletion') throw new SseError('KeyPendingDeletion')
        key.state = 'enabled'
      }),
    disable: (keyId, call) =>
      change('disable', keyId, call, key => {
        if (key.state === 'pending-deletion') throw new SseError('KeyPendingDeletion')
        key.state = 'disabled'
      }),
    scheduleDeletion: (keyId, { days = 30 } = {}, call) =>
      change('scheduleDeletion', keyId, call, key => {
        key.state = 'pending-deletion'
        key.deletion = Date.now() + days * day
      }),
    cancelDeletion: (keyId, call) =>
      change('cancelDeletion', keyId, call, key => {
        if (key.state !== 'pending-deletion') throw new SseError('InvalidRequest')
        key.state = 'disabled'
        key.deletion = undefined
      }),
    close,
    [Symbol.asyncDispose]: async () => close(),
  }
}

/** Ends after some milliseconds, or never; rejects when the signal aborts. */
const waiting = (delay: number | undefined, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = delay === undefined ? undefined : setTimeout(() => end(resolve), delay)
    const abort = () => end(() => reject(signal?.reason))
    const end = (settle: () => void) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      settle()
    }
    signal?.addEventListener('abort', abort)
  })
