/** Calls to Huawei Cloud's key service: who signs them, and what its answers mean. Each is a POST of JSON whose numbers are strings. */
import { wipe } from '../../bytes.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import { HttpServer, type HttpAnswer, retryAfterOf, type TlsOptions } from '../http.ts'
import { jsonBytes, parseJson, text } from '../json.ts'
import type { CallOptions } from '../provider.ts'
import { authorization, sdkDate } from './sign.ts'

/** An access key, temporary where it has a security token; or a token of IAM. */
export type HuaweiCredentials = HuaweiAccessKey | HuaweiToken

/** An access key, which signs each request (SDK-HMAC-SHA256). */
export interface HuaweiAccessKey {
  /** The access key (AK). */
  readonly accessKey: string
  /** The secret key (SK). */
  readonly secretKey: string
  /** Goes with a temporary access key. */
  readonly securityToken?: string | undefined
}

/** A token of the identity service. */
export interface HuaweiToken {
  /** Sent as `X-Auth-Token`. */
  readonly token: string
}

/** Where the service is, and who calls it. */
export interface HuaweiConnection {
  readonly address: string
  readonly credentials: HuaweiCredentials | (() => HuaweiCredentials | Promise<HuaweiCredentials>)
  readonly tls?: TlsOptions | undefined
}

/** The key service of a project. */
export class HuaweiApi {
  readonly #server: HttpServer
  readonly #project: string
  readonly #credentials: () => Promise<HuaweiCredentials>

  constructor(project: string, { address, credentials, tls }: HuaweiConnection) {
    this.#server = new HttpServer(address, tls)
    this.#project = project
    this.#credentials = async () => (typeof credentials === 'function' ? credentials() : credentials)
  }

  /** The JSON of an answer. Rejects with an `SseError` for every answer but 2xx. The bytes sent and received are wiped. */
  async call(action: string, data: Readonly<Record<string, string>>, call: CallOptions | undefined): Promise<unknown> {
    call?.signal?.throwIfAborted()
    const credentials = await this.#credentials().catch(unreadable)
    const path = `/v1.0/${this.#project}/kms/${action}`
    const body = jsonBytes(data)
    try {
      const headers = this.#headers(path, body, credentials)
      const answer = await this.#server.send({ method: 'POST', path, headers, body, signal: call?.signal })
      try {
        return read(action, answer)
      } finally {
        wipe(answer.body)
      }
    } finally {
      wipe(body)
    }
  }

  /** Ends all connections. */
  close(): void {
    this.#server.close()
  }

  #headers(path: string, body: Uint8Array, credentials: HuaweiCredentials): Readonly<Record<string, string>> {
    const { address } = this.#server
    const common = { 'content-type': 'application/json', host: address.host }
    if ('token' in credentials) return { ...common, 'x-auth-token': credentials.token }
    const { accessKey, secretKey, securityToken } = credentials
    const headers = {
      ...common,
      'x-project-id': this.#project,
      'x-sdk-date': sdkDate(Date.now()),
      ...(securityToken === undefined ? {} : { 'x-security-token': securityToken }),
    }
    const signed = { method: 'POST', path: address.pathname.replace(/^\/$/, '') + path, headers, body }
    return { ...headers, authorization: authorization(signed, accessKey, secretKey) }
  }
}

const unreadable = (error: unknown): never => {
  const code = text(error, 'code')
  const message = `The credentials for the key service could not be read${code === undefined ? '' : ` (${code})`}. Check what gives them.`
  throw new SseError('KmsUnavailable', { message })
}

const read = (action: string, answer: HttpAnswer): unknown => {
  const value = parseJson(answer.body)
  if (answer.status >= 200 && answer.status <= 299 && typeof value === 'object' && value !== null) return value
  throw errorOf(action, answer, value)
}

/** The documented codes that mean something here. */
const codes: ReadonlyMap<string, ErrorCode> = new Map([
  ['KMS.0205', 'KeyNotFound'],
  ['KMS.0207', 'KeyNotFound'],
  ['KMS.0209', 'KeyDisabled'],
  ['KMS.0210', 'KeyPendingDeletion'],
  ['KMS.0301', 'KeyAccessDenied'],
  ['KMS.0302', 'KeyAccessDenied'],
  ['KMS.0303', 'KeyAccessDenied'],
  ['KMS.0305', 'KeyAccessDenied'],
  ['KMS.0306', 'KeyAccessDenied'],
  ['KMS.0307', 'KeyAccessDenied'],
  ['KMS.2201', 'NotAuthentic'],
  ['KMS.2203', 'NotAuthentic'],
  ['APIGW.0308', 'KmsThrottled'],
] as const)

/** Whether a key has the alias already that another was to be made with. */
export const isTakenAlias = (error: unknown): boolean =>
  error instanceof SseError && error.cause instanceof Error && error.cause.message.includes(' KMS.1104 ')

const codeOf = (status: number, said: string): ErrorCode => {
  const known = codes.get(said)
  if (known !== undefined) return known
  if (status === 429) return 'KmsThrottled'
  if (status === 401 || status === 403) return 'KeyAccessDenied'
  return 'KmsUnavailable'
}

const errorOf = (action: string, answer: HttpAnswer, value: unknown): SseError => {
  const { status } = answer
  const said = text(value, 'error', 'error_code') ?? text(value, 'error_code') ?? ''
  const words = text(value, 'error', 'error_msg') ?? text(value, 'error_msg') ?? ''
  const code = codeOf(status, said)
  const cause = new Error(`${action}: ${status} ${said} ${printable(words)}`.trim())
  const retryAfter = retryAfterOf(answer.headers)
  const message =
    code === 'KeyAccessDenied'
      ? `Huawei Cloud did not let this service use the key. Check its credentials, and that they have the right to ${action}.`
      : undefined
  return new SseError(code, { cause, message, retryAfter })
}

const printable = (words: string): string =>
  words
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, 500)
