/**
 * The provider `pkcs11`: master keys in an HSM, a smart card or any other token with a PKCS#11 module. Keys never leave the token: data keys
 * go in and are wrapped there. Needs the optional package `pkcs11js`.
 *
 * @module sse-kms-streams/kms/pkcs11
 */
import type { Handle } from 'pkcs11js'
import type { MaybePromise } from '../../bytes.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { EncryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import { contextDigest } from '../digest.ts'
import { checkInstance, holdsKeysOf, type KeyManager, type ManagedKey } from '../manager.ts'
import type { CallOptions, WrappedKey } from '../provider.ts'
import { generateKey } from '../wrap.ts'
import type { Connection } from './connection.ts'
import { saysOfBlob } from './failure.ts'
import { describe, destroyKey, enabledKey, keyOf, keysOf, makeKey, parseId, setEnabled, type TokenKey } from './keys.ts'
import { mechanisms } from './mechanism.ts'
import { Token } from './token.ts'

/** Names a token by where it is. */
export interface TokenSlot {
  /** Number of the slot. */
  readonly slot: number
}

/** What {@link pkcs11Kms} is given. */
export interface Pkcs11KmsOptions {
  /** Name of this token in key ids: 1 to 32 of `[a-z0-9-]`. It never changes. */
  readonly instance: string
  /** Path of the PKCS#11 module, a shared library. */
  readonly module: string
  /** Label of the token, or the number of its slot. */
  readonly token: string | TokenSlot
  /** The user's PIN, or what gets it whenever the token is logged in to. */
  readonly pin: string | (() => MaybePromise<string>)
  /**
   * How data keys are wrapped. `aes-gcm` (the default) authenticates the encryption context. `aes-key-wrap` is for tokens without it: an outer
   * key binds the context then.
   */
  readonly mechanism?: 'aes-gcm' | 'aes-key-wrap' | undefined
  /** Sessions that work at a time, 4 by default. */
  readonly sessions?: number | undefined
  /** Calls that wait for a session before further ones are `KmsThrottled`, 1,000 by default. */
  readonly queue?: number | undefined
  /** Parameters that the module needs at its start, such as those of NSS; most modules have none. */
  readonly moduleParameters?: string | undefined
}

/** A token as a key manager. Its keys have no versions, and what is destroyed cannot be kept. */
export type Pkcs11Kms = KeyManager &
  AsyncDisposable &
  Required<Pick<KeyManager, 'find' | 'list' | 'create' | 'enable' | 'disable' | 'scheduleDeletion' | 'close'>>

const positive = (name: string, value: number): number => {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new RangeError(`${name} is an integer of 1 or more`)
}

/**
 * Wraps data keys with the AES keys of a PKCS#11 token, and administers those. It logs in at the first call. Full ids are
 * `INSTANCE:id=HEX`, HEX being CKA_ID in upper case. `RangeError` for options that are out of range.
 *
 * {@includeCode ../../../test/examples/pkcs11.test.ts#pkcs11}
 */
export const pkcs11Kms = (options: Pkcs11KmsOptions): Pkcs11Kms => {
  const { module, token: wanted, pin, moduleParameters } = options
  const instance = checkInstance(options.instance)
  const mechanism = mechanisms[options.mechanism ?? 'aes-gcm']
  const token = new Token({
    module,
    moduleParameters,
    token: wanted,
    mechanism,
    pin: typeof pin === 'string' ? () => pin : pin,
    sessions: positive('sessions', options.sessions ?? 4),
    queue: positive('queue', options.queue ?? 1000),
  })
  const name = 'pkcs11'

  /** Whether the token wraps and unwraps with a key at all: some say "general error" of a blob that is not authentic. */
  const works = (connection: Connection, key: TokenKey): Promise<boolean> =>
    connection.inSession(async session => {
      const work = { module: connection.module, session, key: key.handle }
      const digest = new Uint8Array(32)
      await mechanism.open(work, await mechanism.seal(work, new Uint8Array(keySize), digest), digest)
      return true
    })

  const wrapDataKey = async (
    key: DataKey,
    { keyId, context }: { keyId: string; context: EncryptionContext },
    call?: CallOptions,
  ): Promise<WrappedKey> => {
    const id = parseId(instance, keyId)
    const blob = await token.use(call, (connection, session) => {
      const { handle } = enabledKey(connection, session, id)
      const work = { module: connection.module, session, key: handle }
      return mechanism.seal(work, key.bytes, contextDigest(context))
    })
    return { provider: name, keyId, wrapAlg: 1, blob }
  }

  const unwrapDataKey: KeyManager['unwrapDataKey'] = async ({ wrapped, context }, call) => {
    const { provider, keyId, wrapAlg, blob } = wrapped
    const id = parseId(instance, keyId)
    if (provider !== name || wrapAlg !== 1 || blob.length !== mechanism.blobSize) throw new SseError('NotAuthentic')
    return token.use(
      call,
      async (connection, session) => {
        const key = enabledKey(connection, session, id)
        const work = { module: connection.module, session, key: key.handle }
        try {
          return new DataKey(await mechanism.open(work, blob, contextDigest(context)))
        } catch (cause) {
          const says = saysOfBlob(cause)
          if (says === 'nothing' || (says === 'unclear' && !(await works(connection, key)))) throw cause
          throw new SseError('NotAuthentic', { cause })
        }
      },
      { discard: key => key.dispose() },
    )
  }

  /** Changes one key. */
  const change = async (
    keyId: string,
    call: CallOptions | undefined,
    work: (connection: Connection, session: Handle, key: TokenKey) => ManagedKey,
  ): Promise<ManagedKey> => {
    const id = parseId(instance, keyId)
    const act = (connection: Connection, session: Handle): ManagedKey =>
      work(connection, session, keyOf(connection, session, id))
    return token.use(call, act, { writing: true })
  }

  const list = async (label: string | undefined, call: CallOptions | undefined): Promise<readonly ManagedKey[]> => {
    if (label === '') return [] // keys without a label are not called so
    return token.use(call, (connection, session) =>
      keysOf(connection, session, label).map(key => describe(instance, key)),
    )
  }

  return {
    name,
    instance,
    bindsContext: mechanism.bindsContext,
    holds: holdsKeysOf(instance),
    wrapDataKey,
    unwrapDataKey,
    generateDataKey: (target, call) => generateKey(key => wrapDataKey(key, target, call)),
    async rewrapDataKey({ from, to }, call) {
      const key = await unwrapDataKey(from, call)
      try {
        return await wrapDataKey(key, to, call)
      } finally {
        key.dispose()
      }
    },
    async describe(key, call) {
      if (/^[a-z0-9-]{1,32}:id=/.test(key)) {
        const id = parseId(instance, key)
        return token.use(call, (connection, session) => describe(instance, keyOf(connection, session, id)))
      }
      const [found, ...others] = await list(key, call)
      if (found === undefined) throw new SseError('KeyNotFound')
      if (others.length === 0) return found
      throw new SseError('KeyNotFound', {
        message: 'Several keys of the token have this label. Name the key by its id.',
      })
    },
    find: (label, call) => list(label, call),
    list: call => list(undefined, call),
    async create(label, call) {
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(label)) throw new RangeError('the name of a key is 1 to 64 of [A-Za-z0-9_-]')
      const key = await token.use(call, (connection, session) => makeKey(connection, session, label, call?.signal), {
        writing: true,
      })
      return describe(instance, key)
    },
    enable: (keyId, call) =>
      change(keyId, call, (connection, session, key) => describe(instance, setEnabled(connection, session, key, true))),
    disable: (keyId, call) =>
      change(keyId, call, (connection, session, key) =>
        describe(instance, setEnabled(connection, session, key, false)),
      ),
    async scheduleDeletion(keyId, { days } = {}, call) {
      if (days !== undefined && days > 0) {
        const message =
          'A token has no waiting time: it destroys a key at once. Disable the key, and destroy it later without days.'
        throw new SseError('NotImplemented', { message })
      }
      return change(keyId, call, (connection, session, key) => {
        destroyKey(connection, session, key)
        return { ...describe(instance, key), state: 'pending-deletion', deletion: Date.now() }
      })
    },
    close: () => token.close(),
    [Symbol.asyncDispose]: async () => token.close(),
  }
}
