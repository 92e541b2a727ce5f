/**
 * The two sets of rules, as data: `obs` is the OBS page "SSE-KMS" (strict), `s3` is Amazon's. Each field says what holds; the functions that
 * ask are in `rules.ts`.
 */

import { tenantAdmin } from './tenancy.ts'

/** Which service's rules hold. */
export type ProfileName = 'obs' | 's3'

/** A set of rules and the region that it is served in. */
export interface Profile {
  /** Whose rules these are. */
  readonly name: ProfileName
  /** The region of this service; keys of others are refused. */
  readonly region: string
  /** Whether keys that customers made may be used. OBS page: "does not support the keys created by customers". */
  readonly customerKeys: boolean
  /** What an object gets that neither request nor bucket say anything about. */
  readonly baseEncryption: 'none' | 'sse-s3'
  /** The checksum of a body that came without one. */
  readonly defaultChecksum: 'none' | 'crc64nvme'
  /** Whether headers of encryption are ignored on parts and Complete instead of refused. */
  readonly lenientParts: boolean
  /** The role that SSE-KMS takes; nobody needs one where it is absent. */
  readonly kmsRole: string | undefined
  /** Whether a client may give an encryption context. */
  readonly clientContext: boolean
  /** Whether a key may be named by an alias. */
  readonly aliases: boolean
  /** Whether SSE-KMS takes Signature Version 4. */
  readonly kmsNeedsV4: boolean
  /** Whether an encrypted object may be copied from one tenant to another. */
  readonly crossTenantCopies: boolean
  /** Whether bodies may come in HTTP's own chunks, their length not told before: OBS's client sends files so. */
  readonly unknownLength: boolean
  /** Bytes that every part of an upload has at least, but for the last one. */
  readonly minimumPartSize: number
}

/** What an operator may choose. */
export interface ProfileOptions {
  /** The region of this service. */
  readonly region: string
  /** Default: false in `obs`, true in `s3`. */
  readonly customerKeys?: boolean
  /** Default: `none` in `obs`, `sse-s3` in `s3`. */
  readonly baseEncryption?: 'none' | 'sse-s3'
  /** Default: `none` in `obs`, `crc64nvme` in `s3`. */
  readonly defaultChecksum?: 'none' | 'crc64nvme'
  /** Default: false. */
  readonly lenientParts?: boolean
}

const sets = {
  obs: {
    customerKeys: false,
    baseEncryption: 'none',
    defaultChecksum: 'none',
    lenientParts: false,
    kmsRole: tenantAdmin,
    clientContext: false,
    aliases: false,
    kmsNeedsV4: false,
    crossTenantCopies: false,
    unknownLength: true,
    minimumPartSize: 100 * 1024,
  },
  s3: {
    customerKeys: true,
    baseEncryption: 'sse-s3',
    defaultChecksum: 'crc64nvme',
    lenientParts: false,
    kmsRole: undefined,
    clientContext: true,
    aliases: true,
    kmsNeedsV4: true,
    crossTenantCopies: true,
    unknownLength: false,
    minimumPartSize: 5 * 1024 * 1024,
  },
} as const satisfies Record<ProfileName, Omit<Profile, 'name' | 'region'>>

/**
 * A profile with the operator's choices.
 *
 * {@includeCode ../../test/examples/rules.test.ts#who}
 */
export const createProfile = (
  name: ProfileName,
  {
    region,
    customerKeys = sets[name].customerKeys,
    baseEncryption = sets[name].baseEncryption,
    defaultChecksum = sets[name].defaultChecksum,
    lenientParts = sets[name].lenientParts,
  }: ProfileOptions,
): Profile => ({ ...sets[name], name, region, customerKeys, baseEncryption, defaultChecksum, lenientParts })
