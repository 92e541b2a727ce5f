/**
 * Signatures of browser uploads: form fields sign the policy, by Amazon's versions 4 and 2 or OBS's scheme. What is signed is the policy's base64 as it
 * was sent. Sources: "Authenticating Requests in Browser-Based Uploads Using POST" of the Amazon S3 API
 * reference; OBS API reference, "Authentication of Signature Carried in the Table Uploaded Through a Browser".
 */
import { createHmac } from 'node:crypto'
import { SseError } from '../../errors.ts'
import {
  type Anonymous,
  type Credential,
  identify,
  sameSignature,
  signatureDoesNotMatch,
  type Signed,
  type VerifyOptions,
} from '../auth/credential.ts'
import type { FormFields } from './form.ts'
import { asHeader } from '../http/headers.ts'
import { cut } from '../http/canonical.ts'
import { algorithmV4 } from '../auth/v4.ts'
import { signingKeyOf, signV4 } from '../auth/v4.ts'

/** Who signed a form, and what. */
export interface SignedForm<Identity> {
  /** The authentication without its headers: those are the form's fields. */
  readonly signer: Omit<Anonymous, 'headers'> | Omit<Signed<Identity>, 'headers'>
  /** The signed policy as it was sent; `undefined` where nobody signed. */
  readonly policy: string | undefined
}

const badArgument = (name: string, value: string, message: string, details: Readonly<Record<string, string>> = {}) =>
  new SseError('InvalidArgument', { message, details: { ArgumentName: name, ArgumentValue: value, ...details } })

/** A required, non-empty field; `InvalidArgument` otherwise. `name` is spelled as in messages. */
export const requiredField = (fields: FormFields, name: string): string => {
  const value = fields.get(name.toLowerCase())
  if (value !== undefined && value !== '') return value
  const message = `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`
  throw badArgument(name, '', message)
}

/** The signature that a form claims. */
interface Claim {
  readonly version: 'v4' | 'v2' | 'obs'
  readonly accessKeyId: string
  readonly policy: string
  readonly signature: string
  /** What the signature must be. */
  expected(secretAccessKey: string): string
}

const claimV4 = (fields: FormFields, region: string): Claim => {
  const algorithm = requiredField(fields, 'X-Amz-Algorithm')
  const credential = requiredField(fields, 'X-Amz-Credential')
  const date = requiredField(fields, 'X-Amz-Date')
  const signature = requiredField(fields, 'X-Amz-Signature')
  const policy = requiredField(fields, 'Policy')
  if (algorithm !== algorithmV4) {
    throw badArgument(
      'X-Amz-Algorithm',
      algorithm,
      `X-Amz-Algorithm only supports "${algorithmV4}" here. Sign with it.`,
    )
  }
  if (!/^\d{8}T\d{6}Z$/.test(date)) {
    throw badArgument(
      'X-Amz-Date',
      date,
      'X-Amz-Date must be formatted via ISO8601 Long format, like 20130728T000000Z.',
    )
  }
  const refuse = (message: string, details?: Readonly<Record<string, string>>) =>
    badArgument('X-Amz-Credential', credential, message, details)
  // Parsed from the end, since an access key id may contain slashes.
  const match = /^(.+)\/(\d{8})\/([^/]*)\/([^/]*)\/([^/]*)$/.exec(credential)
  if (match === null) {
    throw refuse('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  const [, accessKeyId = '', day = '', itsRegion = '', service = '', terminator = ''] = match
  if (itsRegion !== region) {
    throw refuse(`the region '${itsRegion}' is wrong; expecting '${region}'`, { Region: region })
  }
  if (service !== 's3') throw refuse(`incorrect service "${service}". This endpoint belongs to "s3".`)
  if (terminator !== 'aws4_request') throw refuse(`incorrect terminator "${terminator}". Use "aws4_request".`)
  if (!date.startsWith(day)) throw refuse(`the date "${day}" is not that of X-Amz-Date. Sign with one date.`)
  const expected = (secret: string): string => signV4(signingKeyOf(accessKeyId, secret, day, region), asHeader(policy))
  return { version: 'v4', accessKeyId, policy, signature, expected }
}

const claimOld = (version: 'v2' | 'obs', accessKeyId: string, policy: string, signature: string): Claim => ({
  version,
  accessKeyId,
  policy,
  signature,
  expected: secret => createHmac('sha1', secret).update(policy).digest('base64'),
})

/** OBS's `token` is all three in one field: `AccessKeyId:signature:policy`, and goes before the others. */
const claimObs = (fields: FormFields): Claim => {
  const token = fields.get('token')
  if (token === undefined) {
    const accessKeyId = requiredField(fields, 'AccessKeyId')
    return claimOld('obs', accessKeyId, requiredField(fields, 'policy'), requiredField(fields, 'signature'))
  }
  const [accessKeyId, rest = ''] = cut(token, ':')
  const [signature, policy = ''] = cut(rest, ':')
  return claimOld('obs', accessKeyId, policy, signature)
}

const claimV2 = (fields: FormFields): Claim => {
  const accessKeyId = requiredField(fields, 'AWSAccessKeyId')
  return claimOld('v2', accessKeyId, requiredField(fields, 'Policy'), requiredField(fields, 'Signature'))
}

/** The signature that a form claims, if any. A policy alone is no signature, as in S3. */
const claimOf = (fields: FormFields, region: string): Claim | undefined => {
  const has = (...names: readonly string[]): boolean => names.some(name => fields.has(name))
  if (has('x-amz-algorithm', 'x-amz-credential', 'x-amz-signature')) return claimV4(fields, region)
  if (has('accesskeyid', 'token')) return claimObs(fields)
  return has('awsaccesskeyid', 'signature') ? claimV2(fields) : undefined
}

/** Verifies who signed a form. `InvalidArgument` for fields that are missing or malformed, `InvalidAccessKeyId`, `SignatureDoesNotMatch`. */
export const authenticateForm = <Identity extends Credential>(
  fields: FormFields,
  options: VerifyOptions<Identity>,
): SignedForm<Identity> => {
  const body = { kind: 'unsigned' } as const
  const claim = claimOf(fields, options.region)
  if (claim === undefined) return { signer: { kind: 'anonymous', body }, policy: undefined }
  const { version, accessKeyId, policy, signature } = claim
  const identity = identify(options, accessKeyId)
  if (!sameSignature(claim.expected(identity.secretAccessKey), signature)) {
    throw signatureDoesNotMatch(accessKeyId, signature, { StringToSign: policy })
  }
  return { signer: { kind: 'signed', version, presigned: false, accessKeyId, identity, body }, policy }
}
