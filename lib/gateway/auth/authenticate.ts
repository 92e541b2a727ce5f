/**
 * Verifies who sent a request: finds the kind of signature and checks it. What an anonymous or signed request may do is decided elsewhere.
 */
import { SseError } from '../../errors.ts'
import {
  type Authentication,
  bodyAuthentication,
  type Credential,
  notAsymmetric,
  parseRequest,
  type VerifyOptions,
  type WireRequest,
} from './credential.ts'
import { cut } from '../http/canonical.ts'
import type { Query } from '../http/route.ts'
import { schemeObs, schemeV2, verifyV2 } from './v2.ts'
import { algorithmV4, verifyV4 } from './v4.ts'

type Kind = 'v4' | 'v4a' | 'v2' | 'obs'

const inQuery = (parameters: Query): Kind | undefined => {
  if (['Algorithm', 'Credential', 'Signature'].some(name => parameters.has(`X-Amz-${name}`))) return 'v4'
  if (parameters.has(schemeObs.accessKeyId)) return 'obs'
  return parameters.has(schemeV2.accessKeyId) || parameters.has('Signature') ? 'v2' : undefined
}

const words: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  [algorithmV4, 'v4'],
  ['AWS4-ECDSA-P256-SHA256', 'v4a'],
  [schemeV2.word, 'v2'],
  [schemeObs.word, 'obs'],
])

const badAuthorization = (message: string): SseError =>
  new SseError('InvalidArgument', { message, details: { ArgumentName: 'Authorization' } })

const inHeader = (authorization: string): Kind => {
  const kind = words.get(cut(authorization, ' ')[0])
  if (kind === undefined) throw badAuthorization(`Unsupported Authorization Type. Sign with ${algorithmV4}.`)
  return kind
}

/**
 * Verifies a request. Returns who signed it, if anybody did, the headers to use, and how the body must be checked. Throws the `SseError` that Amazon
 * S3 answers for a signature that does not match; it never holds a secret.
 */
export const authenticate = <Identity extends Credential>(
  wire: WireRequest,
  options: VerifyOptions<Identity>,
): Authentication<Identity> => {
  const request = parseRequest(wire)
  const { headers, parameters } = request
  const authorization = headers.get('authorization')
  const carried = inQuery(parameters)
  if (authorization !== undefined && carried !== undefined) {
    throw badAuthorization(
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter ' +
        'or the Authorization header should be specified.',
    )
  }
  const kind = authorization === undefined ? carried : inHeader(authorization)
  switch (kind) {
    case 'v4':
      return verifyV4(request, options, authorization)
    case 'v4a':
      throw notAsymmetric()
    case 'v2':
      return verifyV2(request, options, schemeV2, authorization)
    case 'obs':
      return verifyV2(request, options, schemeObs, authorization)
    default:
      return { kind: 'anonymous', headers, body: bodyAuthentication(headers.get('x-amz-content-sha256')) }
  }
}
