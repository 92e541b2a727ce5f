/**
 * The default encryption of a bucket: a value, and the plain form of the XML document `ServerSideEncryptionConfiguration`, which has the
 * element names as property names. Parsing XML and keeping the value are up to the gateway.
 *
 * ```
 * { Rule: {
 *     ApplyServerSideEncryptionByDefault: { SSEAlgorithm, KMSMasterKeyID, ProjectID },
 *     BucketKeyEnabled,
 *     BlockedEncryptionTypes: { EncryptionType } } }
 * ```
 */
import { SseError } from '../errors.ts'
import { aes256, badArgument, type Dialect, namesOf, type SseS3 } from './names.ts'

/** What a bucket takes: `SSE-C` refuses writes under a customer's key, `NONE` refuses nothing. */
export type BlockedEncryption = 'SSE-C' | 'NONE'

/** Objects are encrypted under a key of the service. */
export interface SseS3Default extends SseS3 {
  /** Kept because clients put it and get it back; it means nothing here. */
  readonly bucketKey: boolean
  /** What is refused; left out where the client said nothing of it. */
  readonly blocked?: BlockedEncryption
}

/** Objects are encrypted with SSE-KMS. */
export interface KmsDefault {
  /** Says which member of a union this is. */
  readonly kind: 'sse-kms'
  /** As the client wrote it, and as it is answered; it is parsed when an object is written, as S3 does. The default key without it. */
  readonly keyId?: string
  /** Whether a bucket key wraps the data keys. */
  readonly bucketKey: boolean
  /** Project that the master key is said to be of. */
  readonly projectId?: string
  /** What is refused; left out where the client said nothing of it. */
  readonly blocked?: BlockedEncryption
}

/** What objects of a bucket get whose request names no encryption. */
export type BucketEncryption = SseS3Default | KmsDefault

/** The one rule of the plain form. */
export interface BucketEncryptionRule {
  /** What is applied. */
  readonly ApplyServerSideEncryptionByDefault: {
    /** `aws:kms` or `AES256` to S3 clients, `kms` or `obs` to OBS clients. */
    readonly SSEAlgorithm: string
    /** The master key as it was put. */
    readonly KMSMasterKeyID?: string
    /** Project of the master key. */
    readonly ProjectID?: string
  }
  /** Whether objects share a bucket key; not in OBS's form. */
  readonly BucketKeyEnabled?: boolean
  /** What is refused; not in OBS's form. */
  readonly BlockedEncryptionTypes?: { readonly EncryptionType: BlockedEncryption }
}

/** The plain form of a configuration. */
export interface BucketEncryptionForm {
  /** Exactly one. */
  readonly Rule: BucketEncryptionRule
}

const kinds: ReadonlyMap<string, BucketEncryption['kind']> = new Map([
  ['aws:kms', 'sse-kms'],
  ['kms', 'sse-kms'],
  [aes256, 'sse-s3'],
  ['obs', 'sse-s3'],
])

const malformed = (): SseError =>
  new SseError('MalformedXML', {
    message: 'The XML you provided was not well-formed or did not validate against our published schema',
  })

/** The children of an element, all of known names; the XML reader has dropped attributes and namespaces. */
const children = (value: unknown, known: readonly string[]): ReadonlyMap<string, unknown> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed()
  const entries = new Map(Object.entries<unknown>({ ...value }))
  for (const name of entries.keys()) if (!known.includes(name)) throw malformed()
  return entries
}

const text = (value: unknown): string | undefined => {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '') throw malformed()
  return value
}

const flag = (value: unknown): boolean => {
  if (value === undefined || value === false || value === 'false') return false
  if (value === true || value === 'true') return true
  throw malformed()
}

const blockedOf = (value: unknown): BlockedEncryption | undefined => {
  if (value === undefined) return undefined
  const types = children(value, ['EncryptionType']).get('EncryptionType')
  const [type, ...more]: readonly unknown[] = Array.isArray(types) ? types : [types]
  if (more.length > 0 || (type !== 'SSE-C' && type !== 'NONE')) throw malformed()
  return type
}

/**
 * Reads a configuration in plain form; `Rule` may be one rule or a list of one. Texts are strings, `BucketKeyEnabled` a boolean or its text.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,bucket-encryption}
 *
 * @throws {SseError} `MalformedXML` with no rule or two, an unknown element or algorithm; `InvalidArgument` for a key id or project
 * with SSE-S3; `NotImplemented` for `aws:kms:dsse`. Semantics, section 2.
 */
export const parseBucketEncryption = (form: unknown): BucketEncryption => {
  const list = children(form, ['Rule']).get('Rule')
  const [only, ...more]: readonly unknown[] = Array.isArray(list) ? list : [list]
  if (more.length > 0) throw malformed()
  const rule = children(only, ['ApplyServerSideEncryptionByDefault', 'BucketKeyEnabled', 'BlockedEncryptionTypes'])
  const element = 'ApplyServerSideEncryptionByDefault'
  const apply = children(rule.get(element), ['SSEAlgorithm', 'KMSMasterKeyID', 'ProjectID'])
  const algorithm = text(apply.get('SSEAlgorithm')) ?? ''
  if (algorithm === 'aws:kms:dsse')
    throw badArgument(`${algorithm} is not implemented here. Use aws:kms.`, 'SSEAlgorithm', algorithm, 'NotImplemented')
  const kind = kinds.get(algorithm)
  if (kind === undefined) throw malformed()
  const keyId = text(apply.get('KMSMasterKeyID'))
  const projectId = text(apply.get('ProjectID'))
  const bucketKey = flag(rule.get('BucketKeyEnabled'))
  const blocked = blockedOf(rule.get('BlockedEncryptionTypes'))
  const common = { bucketKey, ...(blocked !== undefined && { blocked }) }
  if (kind === 'sse-kms')
    return { kind, ...common, ...(keyId !== undefined && { keyId }), ...(projectId !== undefined && { projectId }) }
  if (keyId !== undefined || projectId !== undefined)
    throw new SseError('InvalidArgument', {
      message: `a ${keyId === undefined ? 'ProjectID' : 'KMSMasterKeyID'} is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse`,
      details: { ArgumentName: element },
    })
  return { kind, ...common }
}

/**
 * The plain form as a client of that dialect expects it: the inverse of {@link parseBucketEncryption}.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,bucket-encryption}
 */
export const formatBucketEncryption = (encryption: BucketEncryption, dialect: Dialect): BucketEncryptionForm => {
  const { blocked } = encryption
  const ofS3 = {
    BucketKeyEnabled: encryption.bucketKey,
    ...(blocked !== undefined && { BlockedEncryptionTypes: { EncryptionType: blocked } }),
  }
  const more = dialect === 's3' ? ofS3 : {}
  if (encryption.kind === 'sse-s3') {
    const SSEAlgorithm = dialect === 's3' ? aes256 : 'obs'
    return { Rule: { ApplyServerSideEncryptionByDefault: { SSEAlgorithm }, ...more } }
  }
  const { keyId, projectId } = encryption
  return {
    Rule: {
      ApplyServerSideEncryptionByDefault: {
        SSEAlgorithm: namesOf[dialect].kms,
        ...(keyId !== undefined && { KMSMasterKeyID: keyId }),
        ...(projectId !== undefined && { ProjectID: projectId }),
      },
      ...more,
    },
  }
}

/**
 * What is answered when a bucket's encryption is asked for: its configuration, else the profile's base. Semantics, section 2.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who,bucket-encryption}
 *
 * @throws {SseError} `ServerSideEncryptionConfigurationNotFoundError` where there is neither.
 */
export const bucketEncryptionOrBase = (
  configured: BucketEncryption | undefined,
  baseEncryption: 'none' | 'sse-s3',
): BucketEncryption => {
  if (configured) return configured
  if (baseEncryption === 'sse-s3') return { kind: 'sse-s3', bucketKey: false }
  throw new SseError('ServerSideEncryptionConfigurationNotFoundError')
}
