/**
 * The signature of Huawei Cloud's API gateway, SDK-HMAC-SHA256 (API Request Signing Guide):
 *
 *     canonical request   METHOD \n path, with "/" at its end \n sorted query \n headers, each "name:value\n" \n names \n hex SHA-256 of the body
 *     to be signed        SDK-HMAC-SHA256 \n time \n hex SHA-256 of the canonical request
 *     signature           hex HMAC-SHA-256 with the secret key itself
 */
import { createHash, createHmac } from 'node:crypto'

/** What is signed. The headers are those that count: host, and what else the request has of its own. */
export interface SignableRequest {
  readonly method: string
  /** Path with its query, percent-encoded. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | undefined
}

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** A time as the header X-Sdk-Date has it. */
export const sdkDate = (ms: number): string => new Date(ms).toISOString().replace(/[-:]|\.\d+/g, '')

/** The header Authorization; `headers` has `x-sdk-date`, names in lower case. */
export const authorization = (outgoing: SignableRequest, accessKey: string, secretKey: string): string => {
  const { method, path, headers, body = new Uint8Array() } = outgoing
  const [resource = '', query = ''] = path.split('?')
  const names = Object.keys(headers).sort()
  const canonical = [
    method,
    resource.endsWith('/') ? resource : `${resource}/`,
    query.split('&').sort().join('&'),
    ...names.map(name => `${name}:${(headers[name] ?? '').trim()}`),
    '',
    names.join(';'),
    sha256(body),
  ].join('\n')
  const toSign = ['SDK-HMAC-SHA256', headers['x-sdk-date'], sha256(canonical)].join('\n')
  const signature = createHmac('sha256', secretKey).update(toSign).digest('hex')
  return `SDK-HMAC-SHA256 Access=${accessKey}, SignedHeaders=${names.join(';')}, Signature=${signature}`
}
