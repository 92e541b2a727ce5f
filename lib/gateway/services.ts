/** What the work of a gateway needs: the store, the KMS and the rules, without any request. Made once, and given to each request with its signal. */
import { SegmentMemory } from '../cipher/memory.ts'
import { checkedAdministration } from '../kms/checked.ts'
import type { CallOptions, KeyAdministration, KeyDescription } from '../kms/provider.ts'
import { recorded } from '../kms/recorded.ts'
import type { Sse } from '../object/node.ts'
import { type KeyGrants, type KeyRight, readKeyGrants } from '../sse/grants.ts'
import type { Profile } from '../sse/profile.ts'
import type { ObjectStore } from '../store/store.ts'
import type { GatewayLimits } from './limits.ts'
import type { GatewayOptions } from './options.ts'

/** A use of a master key that no grant allows. */
export interface KeyRefusal {
  readonly missing: Extract<KeyRight, 'kms:GenerateDataKey' | 'kms:Decrypt'>
  /** Full id of the key, where one was found. */
  readonly keyId: string | undefined
}

/** What receives bodies, opens objects and changes records is called with these and a plan. */
export interface Services {
  readonly store: ObjectStore
  readonly kms: KeyAdministration
  readonly sse: Pick<
    Sse,
    'encrypt' | 'decrypt' | 'createUpload' | 'encryptPart' | 'listParts' | 'completeUpload' | 'rewrap'
  >
  readonly profile: Profile
  /** Rights to use keys, of the tenants that have granted any. */
  readonly grants: KeyGrants
  /** Told of uses of keys that no grant allows. */
  readonly onKeyRefused?: ((refusal: KeyRefusal) => void) | undefined
  readonly limits: GatewayLimits
  /** What bodies are sealed and opened into, used again once it was written. */
  readonly output: SegmentMemory
  /** Milliseconds until an answer that takes long begins, and between its blanks. */
  readonly blankEvery: number
  /** Milliseconds since 1970. */
  now(): number
  /** The default master key of a tenant in this region, and for this bucket, made if there never was one. */
  defaultKey(domainId: string, bucket?: string, call?: CallOptions): Promise<KeyDescription>
}

/** The domain that the keys of SSE-S3 belong to: the service itself, no tenant. */
export const serviceDomain = 'sse-s3'

/** The services of a gateway. */
export const createServices = (
  { store, kms: keys, sse, profile, keyGrants = [], clock = Date.now, blankEvery = 10_000 }: GatewayOptions,
  limits: GatewayLimits,
): Services => {
  const kms = recorded(checkedAdministration(keys, Math.ceil(limits.kmsSeconds * 1000)), store)
  const { region } = profile
  const defaultKey: Services['defaultKey'] = (domainId, bucket, call) =>
    kms.defaultKey({ region, domainId, bucket }, call)
  const grants = readKeyGrants(keyGrants, region)
  const output = new SegmentMemory()
  return { store, kms, sse, profile, grants, limits, output, blankEvery, now: clock, defaultKey }
}

/** The same services under other grants. */
export const underGrants = (services: Services, grants: GatewayOptions['keyGrants']): Services => ({
  ...services,
  grants: readKeyGrants(grants ?? [], services.profile.region),
})

/** The same services for one request: whatever they ask the KMS ends when its signal aborts, and uses of keys are told. */
export const forRequest = (
  services: Services,
  call: Required<Pick<CallOptions, 'signal' | 'onKeyUse'>>,
  onKeyRefused: Services['onKeyRefused'],
): Services => {
  const { kms, sse } = services
  return {
    ...services,
    onKeyRefused,
    kms: {
      describeKey: query => kms.describeKey(query, call),
      defaultKey: scope => kms.defaultKey(scope, call),
      acceptedKeys: scope => kms.acceptedKeys(scope, call),
    },
    sse: {
      encrypt: options => sse.encrypt({ ...options, ...call }),
      decrypt: (envelope, options) => sse.decrypt(envelope, { ...options, ...call }),
      createUpload: options => sse.createUpload({ ...options, ...call }),
      encryptPart: (upload, part, options) => sse.encryptPart(upload, part, { ...options, ...call }),
      listParts: (upload, receipts, options) => sse.listParts(upload, receipts, { ...options, ...call }),
      completeUpload: (upload, named, receipts, options) =>
        sse.completeUpload(upload, named, receipts, { ...options, ...call }),
      rewrap: (envelope, options) => sse.rewrap(envelope, { ...options, ...call }),
    },
    defaultKey: (domainId, bucket) => services.defaultKey(domainId, bucket, call),
  }
}
