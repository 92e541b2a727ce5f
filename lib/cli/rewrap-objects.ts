/** `sse-kms rewrap-objects`: moves the objects of a bucket to another master key, or to the newest version of their own, while servers run. */
import { SseError } from '../errors.ts'
import { bucketContext, bucketEncryption, keysOfStored, type SealedEncryption } from '../gateway/objects/encryption.ts'
import { type KeyPlace, keyPlaceOf, rewrapObject, swapRecord } from '../gateway/objects/rewrap.ts'
import { serviceDomain } from '../gateway/services.ts'
import type { AcceptedKey, KeyDescription } from '../kms/provider.ts'
import { assertKeyUsable } from '../sse/authorize.ts'
import type { EncryptionKind } from '../sse/names.ts'
import type { ObjectRecord } from '../store/records.ts'
import { assertNoneLeft, bulkOptions, forEachObject, leftLines, type Outcome, paceOf, type Tally } from './bulk.ts'
import { bulkStoreOptions, type OpenedBucket, openBucket } from './bulk-store.ts'
import { type Command, command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { print } from './io.ts'
import { countKeys, type KeyCount, keyCountLines } from './key-counts.ts'
import { printable, printableJson } from './printable.ts'

const options = {
  ...bulkStoreOptions,
  from: { value: 'KEY[:VERSION]', help: 'only objects under this key, or this version of it' },
  to: { value: 'KEY', help: 'the key to move them to: ARN, id or alias/NAME of the tenant, or a key of the service' },
  ...bulkOptions,
  ...commonOptions,
} as const satisfies Record<string, Option>

/** The key that objects are moved to. */
interface Target {
  /** The objects that can lie under it. */
  readonly kind: 'sse-kms' | 'sse-s3'
  readonly key: KeyDescription
  readonly accepted: AcceptedKey
}

/** The key, and perhaps its version, that objects are moved away from. */
interface Source {
  readonly keyId: string
  readonly version: number | undefined
}

/** A key by its ARN, id, alias or full id: of the tenant that owns the bucket, or of the service. */
const describe = async ({ services, place }: OpenedBucket, keyId: string): Promise<KeyDescription> => {
  const { kms, profile } = services
  const find = (domainId: string) => kms.describeKey({ keyId, scope: { region: profile.region, domainId } })
  try {
    return await find(place().owner.domainId)
  } catch (error) {
    if (!(error instanceof SseError) || (error.code !== 'KeyNotFound' && error.code !== 'InvalidKeyId')) throw error
    return find(serviceDomain).catch(() => Promise.reject(error))
  }
}

/** The key to move objects to: one that servers will accept. */
const targetOf = async (opened: OpenedBucket, name: string): Promise<Target> => {
  const { kms, profile } = opened.services
  const { owner } = opened.place()
  const key = await describe(opened, name)
  const { keyId, arn = keyId } = key
  const kind = key.domainId === serviceDomain ? 'sse-s3' : 'sse-kms'
  const tenant = kind === 'sse-s3' ? { ...owner, domainId: serviceDomain } : owner
  assertKeyUsable(kind === 'sse-s3' ? { ...profile, customerKeys: false } : profile, { ...key, keyId: arn }, tenant)
  const origin = kind === 'sse-s3' || !profile.customerKeys ? 'service' : undefined
  const accepted = await kms.acceptedKeys({ region: profile.region, domainId: tenant.domainId, keyId, origin })
  const [first] = accepted
  if (first === undefined) throw new SseError('KeyNotAccepted')
  return { kind, key, accepted: first }
}

/** What `--from` names. A key that is gone is named by its full id. */
const sourceOf = async (opened: OpenedBucket, text: string | undefined): Promise<Source | undefined> => {
  if (text === undefined) return undefined
  const [, name = text, version] = /^(.+):(\d{1,9})$/.exec(text) ?? []
  const keyId = await describe(opened, name).then(
    key => key.keyId,
    (error: unknown) => {
      if (error instanceof SseError && (error.code === 'KeyNotFound' || error.code === 'InvalidKeyId')) return name
      throw error
    },
  )
  return { keyId, version: version === undefined ? undefined : Number(version) }
}

const isFrom = (place: KeyPlace | undefined, from: Source): boolean =>
  place?.keyId === from.keyId && (from.version === undefined || place.version === from.version)

const isAt = ({ provider, keyId, version }: KeyPlace, { key, accepted }: Target): boolean =>
  provider === accepted.provider &&
  keyId === key.keyId &&
  (key.version === undefined || version === undefined || version >= key.version)

const otherKinds: Readonly<Record<EncryptionKind, string>> = {
  plain: 'plain: seal it with sse-kms encrypt-existing',
  'sse-c': 'SSE-C: only the client has its key',
  'sse-s3': 'SSE-S3: it lies under a key of the service; name one with --to, or copy it onto itself under SSE-KMS',
  'sse-kms': 'SSE-KMS: it lies under a key of the tenant; name one with --to',
}

/** What is to be done with an object: `move`, or what became of it already. */
const judge = (record: ObjectRecord, target: Target, from: Source | undefined): 'move' | Outcome => {
  const place = record.envelope && keyPlaceOf(record.envelope)
  if (from !== undefined && !isFrom(place, from)) return { did: 'other' }
  if (place === undefined || record.kind !== target.kind) return { did: 'left', reason: otherKinds[record.kind] }
  return isAt(place, target) ? { did: 'already' } : 'move'
}

/** The bucket key is used where the bucket says so, and where the object lies under one already. */
const encryptionOf = (opened: OpenedBucket, target: Target, record: ObjectRecord): SealedEncryption => {
  const { kind, accepted, key } = target
  const options = { keyId: key.keyId, accept: [accepted] }
  if (kind === 'sse-s3') return { kind, options, answer: { kind } }
  const place = opened.place()
  const byDefault = bucketEncryption(place.bucket)
  const bucketKey = record.notes.bucketKey === true || (byDefault?.kind === 'sse-kms' && byDefault.bucketKey)
  return {
    kind,
    options: { ...options, bucketContext: bucketContext(place), bucketKey },
    answer: { kind, keyId: key.arn ?? key.keyId, bucketKey },
  }
}

const attempts = 5

const changedMeanwhile = (error: unknown): boolean =>
  error instanceof SseError && (error.code === 'PreconditionFailed' || error.code === 'NoSuchKey')

interface Report extends Tally {
  readonly bucket: string
  readonly prefix: string | undefined
  readonly to: string
  readonly dryRun: boolean
  /** Bytes of the bodies of objects that were moved, none of which was read. */
  readonly bytes: number
  readonly kmsCalls: number
  /** When the last look at every row began: ISO 8601. */
  readonly scanned: string
  readonly keys: readonly KeyCount[]
}

const textOf = (report: Report, from: string | undefined, isLeft: boolean): string => {
  const { bucket, prefix, objects, changed, already, other, left, seconds, dryRun, bytes, kmsCalls, scanned } = report
  const where = `bucket ${bucket}${prefix === undefined ? '' : `, keys that begin with ${printable(prefix)}`}`
  const rate = seconds > 0 ? Math.round(changed / seconds) : 0
  const lines = [
    `${where}: ${objects} objects looked at`,
    `${changed} ${dryRun ? 'would be moved' : 'moved'} to ${printable(report.to)}, ${already} were there, ${other} others`,
    `${kmsCalls} calls to key managers, ${bytes} bytes of bodies left where they are, ${seconds.toFixed(1)} s, ${rate} objects/s`,
    ...leftLines(left),
    `what lies under which key, by a look at every row that began at ${scanned}:`,
    ...keyCountLines(report.keys),
    ...(from === undefined
      ? []
      : [isLeft ? `something in it is left under ${from}` : `nothing in it is left under ${from}`]),
  ]
  return lines.map(line => `${line}\n`).join('')
}

/** `sse-kms rewrap-objects`. */
export const rewrapObjects: Command = command({
  name: 'rewrap-objects',
  usage: ['--config FILE --bucket BUCKET [--prefix PREFIX] [--from KEY[:VERSION]] --to KEY'],
  about: [
    'Moves the objects of a bucket to another master key, or, after a rotation, to the newest version of their own. Each ' +
      "object's data key is wrapped anew, and the new wrap is opened before the old one goes. Bodies are neither read nor " +
      'written; ETag and Last-Modified stay. An object that a client changes meanwhile is looked at again.',
    'Works on the store and the key managers of a server, which may be running. A signal stops it when what is under way is ' +
      'done. Stopped or killed, it goes on when the same command is given again: objects that lie under KEY are skipped ' +
      'without a call to the key manager.',
    'Left as they are, and listed: plain objects, SSE-C, objects under keys that are gone or disabled, and open uploads, ' +
      'which keep their key until they are completed or aborted. The status is 1 then. With --from it is also 1 as long as ' +
      'anything lies under that key.',
  ],
  options,
  examples: [
    'sse-kms rewrap-objects --config ./sse-kms.json --bucket photos --to alias/archive --dry-run',
    'sse-kms rewrap-objects --config ./sse-kms.json --bucket photos --from "$key:1" --to "$key"',
    'sse-kms rewrap-objects --config ./sse-kms.json --bucket photos --to alias/archive --rate 200 --json > report.json',
  ],
  positionals: 0,
  run: async (args, io) => {
    const to = args.text('to')
    if (to === undefined) throw usage('rewrap-objects needs --to KEY', 'See sse-kms help rewrap-objects.')
    const pace = paceOf(args)
    const dryRun = args.flag('dry-run')
    const opened = await openBucket(args, io, 'rewrap-objects')
    try {
      const target = await targetOf(opened, to)
      const from = await sourceOf(opened, args.text('from'))
      const { store } = opened
      const bucketId = opened.place().bucket.id
      const all = { store, bucketId, prefix: args.text('prefix') }
      let bytes = 0
      const tally = await forEachObject(io, all, pace, async (key, mayGoOn) => {
        const services = opened.servicesFor(key)
        for (let attempt = 0; attempt < attempts; attempt++) {
          const record = await store.getObject(bucketId, key)
          if (record === undefined) return { did: 'gone' }
          const outcome = judge(record, target, from)
          if (outcome !== 'move') return outcome
          if (!dryRun) {
            if (!(await mayGoOn())) return { did: 'stopped' }
            try {
              const keys = await keysOfStored(services, record, opened.place(), key)
              const next = await rewrapObject(services, record, keys, encryptionOf(opened, target, record))
              await opened.commit(bucket => swapRecord(store, bucket, key, record, next))
            } catch (error) {
              if (!changedMeanwhile(error)) throw error
              continue // look at what is there now
            }
          }
          bytes += record.size
          return { did: 'changed' }
        }
        return { did: 'left', reason: 'changed again and again meanwhile: give the command once more' }
      })
      const scanned = new Date().toISOString()
      const { counts, unknown } = await countKeys(io, all)
      const uploads = counts
        .filter(count => count.uploads.length > 0)
        .filter(count =>
          from === undefined ? count.kind === target.kind && !isAt(count, target) : isFrom(count, from),
        )
        .flatMap(count => count.uploads)
      const reason = 'open upload, which keeps its key: complete it or abort it'
      const left = [...tally.left, ...(uploads.length > 0 ? [{ reason, count: uploads.length, keys: uploads }] : [])]
      const isLeft = from !== undefined && (unknown > 0 || counts.some(count => isFrom(count, from)))
      const report: Report = {
        bucket: opened.place().bucket.name,
        prefix: all.prefix,
        to: target.key.arn ?? target.key.keyId,
        dryRun,
        ...tally,
        left,
        bytes,
        kmsCalls: opened.calls(),
        scanned,
        keys: counts,
      }
      const text = args.flag('json')
        ? `${printableJson(from === undefined ? report : { ...report, from: args.text('from'), nothingLeft: !isLeft }, 2)}\n`
        : textOf(report, args.text('from'), isLeft)
      await print(io.stdout, text)
      if (dryRun) return
      assertNoneLeft(left)
      if (isLeft) throw new SseError('ObjectsLeft')
    } finally {
      await opened.close()
    }
  },
})
