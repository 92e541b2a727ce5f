/** `sse-kms rewrap-objects`: moves the objects of a bucket to another master key, or to the newest version of their own, while servers run. */
import { SseError } from '../errors.ts'
import { bucketEncryption, keysOfStored } from '../gateway/objects/encryption.ts'
import { type KeyPlace, keyPlaceOf, rewrapObject, swapRecord } from '../gateway/objects/rewrap.ts'
import type { EncryptionKind } from '../sse/names.ts'
import type { ObjectRecord } from '../store/records.ts'
import { assertNoneLeft, bulkOptions, forEachObject, type Outcome, paceOf, retried } from './bulk.ts'
import { describeKey, isNoKey, type TargetKey, targetKey, underKey } from './bulk-keys.ts'
import { printReport, reportOf } from './bulk-report.ts'
import { bulkStoreOptions, type OpenedBucket, openBucket } from './bulk-store.ts'
import { type Command, command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { countKeys } from './key-counts.ts'
import { printable } from './printable.ts'

const options = {
  ...bulkStoreOptions,
  from: { value: 'KEY[:VERSION]', help: 'only objects under this key, or this version of it' },
  to: { value: 'KEY', help: 'the key to move them to: ARN, id or alias/NAME of the tenant, or a key of the service' },
  ...bulkOptions,
  ...commonOptions,
} as const satisfies Record<string, Option>

/** The key, and perhaps its version, that objects are moved away from. */
interface Source {
  readonly keyId: string
  readonly version: number | undefined
}

/** What `--from` names. A key that is gone is named by its full id. */
const sourceOf = async (opened: OpenedBucket, text: string | undefined): Promise<Source | undefined> => {
  if (text === undefined) return undefined
  const [, name = text, version] = /^(.+):(\d{1,9})$/.exec(text) ?? []
  const keyId = await describeKey(opened, name).then(
    key => key.keyId,
    (error: unknown) => {
      if (isNoKey(error)) return name
      throw error
    },
  )
  return { keyId, version: version === undefined ? undefined : Number(version) }
}

const isFrom = (place: KeyPlace | undefined, from: Source): boolean =>
  place?.keyId === from.keyId && (from.version === undefined || place.version === from.version)

const isAt = ({ provider, keyId, version }: KeyPlace, { key, accepted }: TargetKey): boolean =>
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
const judge = (record: ObjectRecord, target: TargetKey, from: Source | undefined): 'move' | Outcome => {
  const place = record.envelope && keyPlaceOf(record.envelope)
  if (from !== undefined && !isFrom(place, from)) return { did: 'other' }
  if (place === undefined || record.kind !== target.kind) return { did: 'left', reason: otherKinds[record.kind] }
  return isAt(place, target) ? { did: 'already' } : 'move'
}

/** The bucket key is used where the bucket says so, and where the object lies under one already. */
const usesBucketKey = (opened: OpenedBucket, { notes }: ObjectRecord): boolean => {
  const byDefault = bucketEncryption(opened.place().bucket)
  return notes.bucketKey === true || (byDefault?.kind === 'sse-kms' && byDefault.bucketKey)
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
      const target = await targetKey(opened, await describeKey(opened, to))
      const source = args.text('from')
      const from = await sourceOf(opened, source)
      const { store } = opened
      const bucketId = opened.place().bucket.id
      const all = { store, bucketId, prefix: args.text('prefix') }
      let bytes = 0
      const tally = await forEachObject(io, all, pace, (key, mayGoOn) =>
        retried(async () => {
          const services = opened.servicesFor(key)
          const record = await store.getObject(bucketId, key)
          if (record === undefined) return { did: 'gone' }
          const outcome = judge(record, target, from)
          if (outcome !== 'move') return outcome
          if (!dryRun) {
            if (!(await mayGoOn())) return { did: 'stopped' }
            const keys = await keysOfStored(services, record, opened.place(), key)
            const to = underKey(opened, target, key, usesBucketKey(opened, record))
            const next = await rewrapObject(services, record, keys, to)
            await opened.commit(bucket => swapRecord(store, bucket, key, record, next))
          }
          bytes += record.size
          return { did: 'changed' }
        }),
      )
      const scanned = new Date().toISOString()
      const { counts, unknown } = await countKeys(io, all)
      const uploads = counts
        .filter(count =>
          from === undefined ? count.kind === target.kind && !isAt(count, target) : isFrom(count, from),
        )
        .flatMap(count => count.uploads)
      const reason = 'open upload, which keeps its key: complete it or abort it'
      const isLeft = from !== undefined && (unknown > 0 || counts.some(count => isFrom(count, from)))
      const report = reportOf(opened, {
        tally,
        uploads: { reason, count: uploads.length, keys: uploads },
        prefix: all.prefix,
        to: target.key.arn ?? target.key.keyId,
        dryRun,
        bytes,
        scanned,
        keys: counts,
      })
      const words = { done: 'moved to', bytes: 'of plaintext, whose bodies stay where they are' }
      const said =
        source !== undefined && `${isLeft ? 'something' : 'nothing'} in it is left under ${printable(source)}`
      const more = said ? { lines: [said], fields: { from: source, nothingLeft: !isLeft } } : undefined
      await printReport(io, args.flag('json'), report, words, more)
      if (dryRun) return
      assertNoneLeft(report.left)
      if (isLeft) throw new SseError('ObjectsLeft')
    } finally {
      await opened.close()
    }
  },
})
