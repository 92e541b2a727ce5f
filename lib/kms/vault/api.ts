/**
 * Calls to Vault: its tokens, its namespaces, and what its answers mean. A 400 of Vault says in words what is wrong; the words are those of
 * Vault and OpenBao alike.
 */
import { wipe } from '../../bytes.ts'
import { type ErrorCode, SseError, type SseErrorOptions } from '../../errors.ts'
import { HttpServer, type HttpAnswer, retryAfterOf, type TlsOptions } from '../http.ts'
import { field, jsonBytes, list, number, parseJson, text } from '../json.ts'
import { type Grant, Session, type TokenSource } from './session.ts'

/** A secret: itself, or a function that reads it whenever it is needed, such as from a file. */
export type Secret = string | (() => string | Promise<string>)

/**
 * How a program shows Vault who it is. `mount` is where the method is mounted, by default under its own name. A token that is a function
 * is asked for anew where Vault refuses the one before; one that is a string is all there is.
 */
export type VaultAuth = VaultToken | VaultAppRole | VaultKubernetes

/** A token that was made elsewhere. */
export interface VaultToken {
  /** Says which member of a union this is. */
  readonly method: 'token'
  /** The token; a function is asked again once it is refused. */
  readonly token: Secret
}

/** A login by AppRole. */
export interface VaultAppRole {
  /** Says which member of a union this is. */
  readonly method: 'approle'
  /** The role's id. */
  readonly roleId: string
  /** The role's secret id. */
  readonly secretId: Secret
  /** Where the method is mounted; `approle` where left out. */
  readonly mount?: string | undefined
}

/** A login by the token of a Kubernetes service account. */
export interface VaultKubernetes {
  /** Says which member of a union this is. */
  readonly method: 'kubernetes'
  /** Vault's role. */
  readonly role: string
  /** The service account's token. */
  readonly jwt: Secret
  /** Where the method is mounted; `kubernetes` where left out. */
  readonly mount?: string | undefined
}

/** Where Vault is, and how it is called. */
export interface VaultConnection {
  readonly address: string
  readonly auth: VaultAuth
  readonly namespace?: string | undefined
  readonly tls?: TlsOptions | undefined
}

/** A request below `/v1/`. */
export interface VaultRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  /** Sent as JSON; its bytes are wiped, its strings cannot be. */
  readonly data?: Readonly<Record<string, unknown>> | undefined
  /** What a 403 says that the token may not do. */
  readonly right: string
  readonly signal?: AbortSignal | undefined
}

/** What calls that several callers wait for have, in ms: none of them can end one. */
export const sharedDeadline = 5000

/** Vault, as one program calls it. */
export class VaultApi {
  readonly #server: HttpServer
  readonly #namespace: string | undefined
  readonly #session: Session

  constructor({ address, auth, namespace, tls }: VaultConnection) {
    this.#server = new HttpServer(address, tls)
    this.#namespace = namespace
    this.#session = new Session(this.#sourceOf(auth))
  }

  /** The `data` of an answer. Rejects with an `SseError` for every answer but 2xx; where a token was refused, tries once with another. */
  async call(outgoing: VaultRequest): Promise<unknown> {
    const token = await this.#session.token(outgoing.signal)
    let answer = await this.#send(outgoing, token)
    if (answer.status === 403) {
      const another = await this.#session.another(token, outgoing.signal)
      if (another !== undefined) {
        answer = await this.#send(outgoing, another)
        this.#session.judge(answer.status !== 403)
      }
    }
    return field(read(answer, outgoing), 'data')
  }

  /** Ends all connections, and forgets the token. */
  close(): void {
    this.#session.close()
    this.#server.close()
  }

  async #send({ method, path, data, signal }: VaultRequest, token: string | undefined): Promise<HttpAnswer> {
    const body = data === undefined ? undefined : jsonBytes(data)
    const headers = {
      'x-vault-request': 'true',
      ...(token === undefined ? {} : { 'x-vault-token': token }),
      ...(this.#namespace === undefined ? {} : { 'x-vault-namespace': this.#namespace }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    try {
      return await this.#server.send({ method, path: `/v1/${path}`, headers, body, signal })
    } finally {
      wipe(body)
    }
  }

  #sourceOf(auth: VaultAuth): TokenSource {
    const renew = (token: string) => this.#grant('auth/token/renew-self', {}, token)
    if (auth.method === 'token') {
      const { token } = auth
      return { again: typeof token !== 'string', renew, login: async () => this.#lookUp(await revealed(token)) }
    }
    const { mount = auth.method } = auth
    const login = async (): Promise<Grant> => {
      const data =
        auth.method === 'approle'
          ? { role_id: auth.roleId, secret_id: await revealed(auth.secretId) }
          : { role: auth.role, jwt: await revealed(auth.jwt) }
      return this.#grant(`auth/${encoded(mount)}/login`, data, undefined)
    }
    return { again: true, renew, login }
  }

  async #grant(path: string, data: Readonly<Record<string, string>>, token: string | undefined): Promise<Grant> {
    const signal = AbortSignal.timeout(sharedDeadline)
    const outgoing: VaultRequest = { method: 'POST', path, data, signal, right: 'renew itself' }
    const answer = await this.#send(outgoing, token).catch(asUnavailable)
    if (answer.status === 400 || answer.status === 403) throw failed('KeyAccessDenied', outgoing, answer, refusedLogin)
    const auth = field(read(answer, outgoing), 'auth')
    const given = text(auth, 'client_token')
    if (given === undefined) throw failed('KmsUnavailable', outgoing, answer)
    return { token: given, lease: number(auth, 'lease_duration') ?? 0, renewable: field(auth, 'renewable') === true }
  }

  /** What is known of a token that was handed in. One that may not look itself up is taken as it is. */
  async #lookUp(token: string): Promise<Grant> {
    const signal = AbortSignal.timeout(sharedDeadline)
    const outgoing: VaultRequest = { method: 'GET', path: 'auth/token/lookup-self', signal, right: 'look itself up' }
    const answer = await this.#send(outgoing, token).catch(asUnavailable)
    if (answer.status === 403) return { token, lease: 0, renewable: false }
    const data = field(read(answer, outgoing), 'data')
    return { token, lease: number(data, 'ttl') ?? 0, renewable: field(data, 'renewable') === true }
  }
}

/** A path of Vault's, percent-encoded: its slashes separate. */
export const encoded = (path: string): string => path.split('/').map(encodeURIComponent).join('/')

const refusedLogin = 'Vault refused the login. Check the role and its secret, and that the method is mounted there.'

/** A secret, which is not empty. What its function rejects with may show it, so nothing of that is kept but its code. */
const revealed = async (secret: Secret): Promise<string> => {
  const given = typeof secret === 'string' ? secret : await Promise.resolve().then(secret).catch(unreadable)
  return given.trim() === '' ? unreadable(undefined) : given.trim()
}

const unreadable = (error: unknown): never => {
  const code = text(error, 'code')
  const message = `The secret for the login to Vault could not be read${code === undefined ? '' : ` (${code})`}. Check what gives it.`
  throw new SseError('KmsUnavailable', { message })
}

/** What ends a call that several wait for: its deadline too is an error of the Vault. */
export const asUnavailable = (error: unknown): never => {
  throw error instanceof SseError ? error : new SseError('KmsUnavailable', { cause: error })
}

/** The JSON of a good answer, whose bytes are wiped. */
const read = (answer: HttpAnswer, outgoing: VaultRequest): unknown => {
  if (answer.status < 200 || answer.status > 299) throw errorOf(answer, outgoing)
  try {
    const value = answer.body.length === 0 ? {} : parseJson(answer.body)
    if (typeof value !== 'object' || value === null) throw failed('KmsUnavailable', outgoing, answer)
    return value
  } finally {
    wipe(answer.body)
  }
}

const errorOf = (answer: HttpAnswer, outgoing: VaultRequest): SseError => {
  const { status } = answer
  const said = saidBy(answer)
  if (status === 429) return failed('KmsThrottled', outgoing, answer)
  if (status === 403) {
    const message = `Vault did not let this service use the key. Give the policy of its token the right to ${outgoing.right}.`
    return failed('KeyAccessDenied', outgoing, answer, message)
  }
  if (status === 404 && said === '' && field(parseJson(answer.body), 'errors') !== undefined)
    return failed('KeyNotFound', outgoing, answer)
  if (status === 404) return failed('KmsUnavailable', outgoing, answer, notMounted)
  if (status === 307 || status === 308) return failed('KmsUnavailable', outgoing, answer, standby)
  if (status === 400) {
    for (const [words, code, message] of refusals) if (words.test(said)) return failed(code, outgoing, answer, message)
  }
  return failed('KmsUnavailable', outgoing, answer)
}

const notMounted = 'Vault has nothing at the path of its Transit engine. Mount the engine there, or name its mount.'
const standby =
  'This Vault is a standby that forwards no requests. Give the address of the active one, or of a balancer.'

/** What Vault says with a 400, the code that it is, and a message where the one of the code does not say enough. */
const refusals: readonly (readonly [words: RegExp, code: ErrorCode, message?: string])[] = [
  [
    /disallowed by policy \(too old\)/,
    'KeyDisabled',
    'The version of the key that this data key is wrapped under is below its min_decryption_version. Lower that in Vault, and rewrap.',
  ],
  [/invalid ciphertext|message authentication failed|failed to RSA decrypt/, 'NotAuthentic'],
  [/encryption key not found|no existing key named|could not delete key; not found|^key not found/, 'KeyNotFound'],
  [
    /deletion is not allowed/,
    'KeyAccessDenied',
    'Vault does not let this key be deleted. Let deletion_allowed of the key be set.',
  ],
]

/** What Vault says went wrong, in one line of printable text. */
const saidBy = ({ body }: HttpAnswer): string =>
  list(parseJson(body), 'errors')
    .filter(each => typeof each === 'string')
    .join('; ')
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, 500)

const failed = (code: ErrorCode, { method, path }: VaultRequest, answer: HttpAnswer, message?: string): SseError => {
  const cause = new Error(`${method} ${path}: ${answer.status} ${saidBy(answer)}`.trim())
  const retryAfter = retryAfterOf(answer.headers)
  const options: SseErrorOptions = { cause, ...(retryAfter === undefined ? {} : { retryAfter }) }
  return new SseError(code, code === 'NotAuthentic' || message === undefined ? options : { ...options, message })
}
