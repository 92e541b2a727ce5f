/**
 * The names that a header may give a master key, and the check that the key is one of this tenant and region. The KMS is not asked here.
 * `assertKeyUsable` in `authorize.ts` judges the key that it describes.
 *
 * ```
 * 4f1cd4de-ab64-4807-920a-47fc42e7f0d0                            a key id
 * arn:aws:kms:REGION:DOMAIN:key/ID                                its ARN
 * REGION:DOMAIN:key/ID                                            the same as OBS writes it
 * alias/NAME   arn:aws:kms:REGION:DOMAIN:alias/NAME               an alias (s3 profile)
 * ```
 */
import { SseError } from '../errors.ts'
import { formatArn } from '../kms/provider.ts'
import type { KeyQuery, KeyScope } from '../kms/provider.ts'

/** A key named by its id. */
export interface KeyIdReference {
  /** Says which member of a union this is. */
  readonly kind: 'key'
  /** UUID, or `mrk-` and 32 hex digits. */
  readonly id: string
  /** Region and tenant, where the key was named in full. */
  readonly scope?: KeyScope
}

/** A key named by an alias. */
export interface AliasReference {
  /** Says which member of a union this is. */
  readonly kind: 'alias'
  /** Without `alias/`. */
  readonly name: string
  /** Region and tenant, where the alias was named in full. */
  readonly scope?: KeyScope
}

/** A key as a client named it. */
export type KeyReference = KeyIdReference | AliasReference

const scope = '(?<region>[A-Za-z0-9_-]{1,64}):(?<domain>[A-Za-z0-9_-]{1,64})'
const key = '(?<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})'
const alias = 'alias/(?<alias>[A-Za-z0-9/_-]{1,250})'
const short = new RegExp(`^(?:${key}|${alias})$`)
const arn = new RegExp(`^arn:aws:kms:${scope}:(?:key/${key}|${alias})$`)
const obs = new RegExp(`^${scope}:key/${key}$`)

/** 400 KMS.NotFoundException as S3 words it for a malformed key id. Semantics, section 2. */
export const invalidKeyId = (text: string): SseError =>
  new SseError('InvalidKeyId', { message: `Invalid keyId '${text}'` })

/**
 * Reads a key id, an ARN, OBS's short form or an alias.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @throws {SseError} `InvalidKeyId` where it is none of them.
 */
export const parseKeyReference = (text: string): KeyReference => {
  const match = short.exec(text) ?? arn.exec(text) ?? obs.exec(text)
  const { region, domain, id, alias }: Readonly<Record<string, string | undefined>> = match?.groups ?? {}
  const scope = region !== undefined && domain !== undefined ? { scope: { region, domainId: domain } } : {}
  if (id !== undefined) return { kind: 'key', id, ...scope }
  if (alias !== undefined) return { kind: 'alias', name: alias, ...scope }
  throw invalidKeyId(text)
}

/**
 * The question to the KMS for a reference that {@link assertKeyScope} let pass: an ARN, or a short name within `home`.
 *
 * {@includeCode ../../test/examples/rules.test.ts#sse,who,write}
 */
export const keyQuery = (reference: KeyReference, home: KeyScope): KeyQuery => {
  if (reference.kind === 'alias') return { keyId: `alias/${reference.name}`, scope: home }
  if (reference.scope === undefined) return { keyId: reference.id, scope: home }
  return { keyId: formatArn(reference.scope.region, reference.scope.domainId, reference.id) }
}

/**
 * Keys of other regions and tenants are refused in both profiles (OBS page, "SSE-KMS"). What is not named is not judged.
 *
 * {@includeCode ../../test/examples/rules.test.ts#kms,who,one-key,rules}
 *
 * @param scope Region and tenant of the key.
 * @throws {SseError} `KeyNotFound`, "Invalid arn REGION", for another region; `KeyAccessDenied` for another tenant.
 */
export const assertKeyScope = (
  { region, domainId }: { readonly region?: string | undefined; readonly domainId?: string | undefined },
  home: KeyScope,
): void => {
  if (region !== undefined && region !== home.region)
    throw new SseError('KeyNotFound', { message: `Invalid arn ${region}` })
  if (domainId !== undefined && domainId !== home.domainId) throw new SseError('KeyAccessDenied')
}
