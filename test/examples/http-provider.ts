/** What the guide to providers shows of a KMS that is a service: a key manager over HTTP. `test/support/key-service.ts` is its server. */
import {
  type CallOptions,
  DataKey,
  type EncryptionContext,
  type ErrorCode,
  type KeyState,
  SseError,
  type WrappedKey,
} from '../../lib/index.ts'
import type { KeyManager, ManagedKey } from '../../lib/kms.ts'

/** Where the service is, and the secret that it wants. */
export interface KeyServiceOptions {
  readonly url: string
  readonly token: string
  readonly instance?: string
}

// #region send
/** A key as the service tells of it. */
interface ServiceKey {
  readonly id: string
  readonly name: string
  readonly state: 'ENABLED' | 'DISABLED' | 'PENDING'
  readonly version: number
  /** In seconds. */
  readonly created: number
  /** In seconds. */
  readonly deletion?: number
}

/** What the service answers. */
interface Answer {
  readonly error?: string
  readonly plaintext?: string
  readonly ciphertext?: string
  readonly key?: ServiceKey
  readonly keys?: readonly ServiceKey[]
}

/** What its errors are here. Any other is `KmsUnavailable`. */
const codes: ReadonlyMap<string, ErrorCode> = new Map([
  ['no-such-key', 'KeyNotFound'],
  ['disabled', 'KeyDisabled'],
  ['pending-deletion', 'KeyPendingDeletion'],
  ['bad-ciphertext', 'NotAuthentic'],
  ['bad-token', 'KeyAccessDenied'], // its 401: credentials that it refuses
  ['slow-down', 'KmsThrottled'],
] as const)

/** Makes the function that calls the service. */
const caller =
  ({ url, token }: { readonly url: string; readonly token: string }) =>
  async (path: string, body: object, call?: CallOptions): Promise<Answer> => {
    try {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
        signal: call?.signal ?? null,
      })
      const answer: Answer = await response.json()
      if (response.ok) return answer
      const code = codes.get(answer.error ?? '') ?? 'KmsUnavailable'
      const message =
        code === 'KeyAccessDenied' ? 'The key service refuses the token. Give one that may use keys.' : undefined
      throw new SseError(code, { message, retryAfter: Number(response.headers.get('retry-after')) || undefined })
    } catch (error) {
      call?.signal?.throwIfAborted() // the reason of the signal, whatever fetch made of it
      if (error instanceof SseError) throw error
      // What JSON.parse says shows a piece of the answer, which may be a key.
      throw new SseError('KmsUnavailable', { cause: error instanceof SyntaxError ? undefined : error })
    }
  }

/** Base64 as bytes in memory of their own. The string cannot be wiped: keep no reference to it. */
const bytesOf = (text = ''): Uint8Array => {
  const bytes = new Uint8Array(Buffer.byteLength(text, 'base64'))
  Buffer.from(bytes.buffer).write(text, 'base64')
  return bytes
}

const keyOf = (text = ''): DataKey => {
  const bytes = bytesOf(text)
  if (bytes.length === 32) return new DataKey(bytes)
  bytes.fill(0)
  throw new SseError('KmsUnavailable', { message: 'The key service answered no key of 32 bytes.' })
}
// #endregion send

const states: Readonly<Record<ServiceKey['state'], KeyState>> = {
  ENABLED: 'enabled',
  DISABLED: 'disabled',
  PENDING: 'pending-deletion',
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A key manager over the service. */
export const keyService = (options: KeyServiceOptions): Required<KeyManager> => {
  const { instance = 'main' } = options
  const name = 'key-service'
  const call = caller(options)
  let isClosed = false
  const send: typeof call = async (path, body, given) => {
    if (isClosed) throw new SseError('KmsUnavailable', { message: 'The key manager was closed. Make a new one.' })
    return call(path, body, given)
  }
  const holds = (keyId: string): boolean => keyId.startsWith(`${instance}:`)
  const idOf = (keyId: string): string => {
    const id = holds(keyId) ? keyId.slice(instance.length + 1) : ''
    if (!uuid.test(id)) throw new SseError('KeyNotFound')
    return id
  }
  const base64 = (bytes: Uint8Array): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  const mapOf = ({ entries }: EncryptionContext): object => Object.fromEntries(entries)
  const wrappedOf = (keyId: string, { ciphertext }: Answer): WrappedKey => {
    return { provider: name, keyId, wrapAlg: 1, blob: bytesOf(ciphertext) }
  }
  const told = (key: ServiceKey | undefined): ManagedKey => {
    if (key === undefined) throw new SseError('KmsUnavailable', { message: 'The key service answered no key.' })
    const { id, name, state, version, created, deletion } = key
    return {
      keyId: `${instance}:${id}`,
      state: states[state],
      name,
      version,
      created: created * 1000,
      deletion: deletion === undefined ? undefined : deletion * 1000,
    }
  }
  const change =
    (action: string) =>
    async (keyId: string, given?: CallOptions): Promise<ManagedKey> =>
      told((await send(`/${idOf(keyId)}/${action}`, {}, given)).key)
  const list = async (given?: CallOptions): Promise<readonly ManagedKey[]> =>
    ((await send('/list', {}, given)).keys ?? []).map(told)
  const find = async (wanted: string, given?: CallOptions): Promise<readonly ManagedKey[]> =>
    (await list(given)).filter(({ name }) => name === wanted)
  return {
    name,
    instance,
    bindsContext: true,
    holds,
    generateDataKey: async ({ keyId, context }, given) => {
      const answer = await send(`/${idOf(keyId)}/generate`, { context: mapOf(context) }, given)
      return { wrapped: wrappedOf(keyId, answer), key: keyOf(answer.plaintext) }
    },
    wrapDataKey: async (key, { keyId, context }, given) => {
      const body = { plaintext: base64(key.bytes), context: mapOf(context) }
      return wrappedOf(keyId, await send(`/${idOf(keyId)}/encrypt`, body, given))
    },
    unwrapDataKey: async ({ wrapped: { keyId, blob }, context }, given) => {
      const body = { ciphertext: base64(blob), context: mapOf(context) }
      return keyOf((await send(`/${idOf(keyId)}/decrypt`, body, given)).plaintext)
    },
    rewrapDataKey: async ({ from, to }, given) => {
      const { keyId, blob } = from.wrapped
      const target = { to: idOf(to.keyId), toContext: mapOf(to.context) }
      const body = { ciphertext: base64(blob), context: mapOf(from.context), ...target }
      return wrappedOf(to.keyId, await send(`/${idOf(keyId)}/reencrypt`, body, given))
    },
    describe: async (key, given) => {
      const [named] = key.includes(':') ? [] : await find(key, given)
      return named ?? change('describe')(key, given)
    },
    find,
    list,
    create: async (name, given) => told((await send('/create', { name }, given)).key),
    rotate: change('rotate'),
    enable: change('enable'),
    disable: change('disable'),
    scheduleDeletion: async (keyId, { days } = {}, given) =>
      told((await send(`/${idOf(keyId)}/delete`, { days }, given)).key),
    cancelDeletion: change('cancel'),
    close: () => {
      isClosed = true
    },
  }
}
