/** `sse-kms encrypt-existing`: seals the plain objects of a bucket where they lie, while servers run. */
import { SseError } from '../errors.ts'
import { effectiveAcl } from '../gateway/access/public-access.ts'
import { bucketEncryption, serviceKey } from '../gateway/objects/encryption.ts'
import { sealStored } from '../gateway/objects/seal.ts'
import { parsePolicy, type Policy } from '../policy/policy.ts'
import type { ObjectRecord } from '../store/records.ts'
import { assertNoneLeft, bulkOptions, forEachObject, paceOf, retried } from './bulk.ts'
import { describeKey, type TargetKey, targetKey, underKey } from './bulk-keys.ts'
import { printReport, reportOf } from './bulk-report.ts'
import { bulkStoreOptions, type OpenedBucket, openBucket } from './bulk-store.ts'
import { type Command, command, commonOptions, type Option } from './command.ts'
import { usage } from './failure.ts'
import { countKeys } from './key-counts.ts'

const options = {
  ...bulkStoreOptions,
  to: { value: 'KEY|sse-s3', help: "a key of the tenant, or the service's (default: the bucket's default encryption)" },
  'change-etags': { help: 'allow SSE-KMS, under which ETags become others' },
  ...bulkOptions,
  ...commonOptions,
} as const satisfies Record<string, Option>

interface Target extends TargetKey {
  readonly bucketKey: boolean
}

/** What `--to` names, or the bucket's default encryption. `InvalidUsage` where there is neither. */
const targetOf = async (opened: OpenedBucket, name: string | undefined): Promise<Target> => {
  const { services } = opened
  const { bucket, owner } = opened.place()
  const byDefault = bucketEncryption(bucket)
  const bucketKey = byDefault?.kind === 'sse-kms' && byDefault.bucketKey
  const kind = name ?? byDefault?.kind
  if (kind === undefined) {
    throw usage('the bucket has no default encryption: name a key with --to', 'See sse-kms help encrypt-existing.')
  }
  if (kind === 'sse-s3') {
    const { keyId } = await serviceKey(services)
    return { ...(await targetKey(opened, await services.kms.describeKey({ keyId }))), bucketKey: false }
  }
  const keyId = name ?? (byDefault?.kind === 'sse-kms' ? byDefault.keyId : undefined)
  const key =
    keyId === undefined ? await services.defaultKey(owner.domainId, bucket.name) : await describeKey(opened, keyId)
  return { ...(await targetKey(opened, key)), bucketKey }
}

/** Whether a policy lets somebody of another tenant read an object. Conditions are taken as met. */
const opens = (policy: Policy | undefined, { config, place }: OpenedBucket, key: string): boolean => {
  const { bucket, owner } = place()
  const strangers = [
    { anonymous: true, domainId: '' },
    ...config.tenants
      .filter(({ domainId }) => domainId !== owner.domainId)
      .flatMap(({ domainId, users }) => users.map(user => ({ anonymous: false, domainId, userName: user.name }))),
  ]
  return (
    policy?.statements.some(
      ({ effect, coversAction, coversResource, coversPrincipal }) =>
        effect === 'Allow' &&
        coversAction('getobject') &&
        coversResource(`${bucket.name}/${key}`) &&
        strangers.some(coversPrincipal),
    ) === true
  )
}

/** Says why an object may not become one under SSE-KMS, which nobody but the tenant can read: by the bucket as it is now. */
const openToOthers = (opened: OpenedBucket, { kind }: Target) => {
  let text: string | undefined
  let policy: Policy | undefined
  return (key: string, { notes }: ObjectRecord): string | undefined => {
    if (kind !== 'sse-kms') return undefined
    const { name, settings } = opened.place().bucket
    if (settings['policy'] !== text) {
      text = settings['policy']
      policy = text === undefined ? undefined : parsePolicy(text, { bucket: name })
    }
    if (effectiveAcl(settings, notes.acl) !== undefined) return 'open to others by its ACL, which SSE-KMS would end'
    return opens(policy, opened, key) ? "open to others by the bucket's policy, which SSE-KMS would end" : undefined
  }
}

/** `sse-kms encrypt-existing`. */
export const encryptExisting: Command = command({
  name: 'encrypt-existing',
  usage: ['--config FILE --bucket BUCKET [--prefix PREFIX] [--to KEY|sse-s3] [--change-etags]'],
  about: [
    "Seals the plain objects of a bucket where they lie: as the bucket's default encryption says, or under the key that --to " +
      'names. Each is read, held against its ETag and checksum, sealed into a new body and swapped in one step; one that a ' +
      'client changes meanwhile is looked at again. Last-Modified, metadata, tags, ACL, checksums and parts stay. Under SSE-S3 ' +
      'the ETag stays too; under SSE-KMS it becomes another one, so --change-etags is asked for.',
    'Works on the store and the key managers of a server, which may be running. A signal stops it when what is under way is ' +
      'done. Stopped or killed, it goes on when the same command is given again: sealed objects are skipped.',
    'Left as they are, and listed, with status 1: under SSE-KMS objects that an ACL or the policy opens to other tenants, who ' +
      'could not read them any more; objects whose bytes are not those that were put; and open uploads without encryption, ' +
      'which become plain objects.',
  ],
  options,
  examples: [
    'sse-kms encrypt-existing --config ./sse-kms.json --bucket photos --to sse-s3 --dry-run',
    'sse-kms encrypt-existing --config ./sse-kms.json --bucket photos --prefix 2025/ --to alias/archive --change-etags',
  ],
  positionals: 0,
  run: async (args, io) => {
    const pace = paceOf(args)
    const dryRun = args.flag('dry-run')
    const opened = await openBucket(args, io, 'encrypt-existing')
    try {
      const target = await targetOf(opened, args.text('to'))
      if (target.kind === 'sse-kms' && !args.flag('change-etags')) {
        throw usage(
          'under SSE-KMS an object gets another ETag: allow that with --change-etags, or use --to sse-s3',
          'See sse-kms help encrypt-existing.',
        )
      }
      const { store } = opened
      const { bucket } = opened.place()
      const refuses = openToOthers(opened, target)
      const all = { store, bucketId: bucket.id, prefix: args.text('prefix') }
      let bytes = 0
      const tally = await forEachObject(io, all, pace, (key, mayGoOn) =>
        retried(async () => {
          const read = await store.getObject(bucket.id, key)
          if (read === undefined) return { did: 'gone' }
          if (read.kind !== 'plain') return { did: 'already' }
          const reason = refuses(key, read)
          if (reason !== undefined) return { did: 'left', reason }
          if (!dryRun) {
            if (!(await mayGoOn())) return { did: 'stopped' }
            const found = await store.openObject(bucket.id, key)
            if (found?.record.revision !== read.revision) {
              await found?.body.close()
              throw new SseError('PreconditionFailed')
            }
            const encryption = underKey(opened, target, key, target.bucketKey)
            try {
              const { record, body } = await sealStored(opened.servicesFor(key), read, found.body, encryption)
              const condition = { revision: read.revision }
              const change = opened.commit(async judged => {
                if (refuses(key, read) !== undefined) throw new SseError('PreconditionFailed') // it was opened meanwhile
                return store.putObject(judged, key, record, body, condition)
              })
              await change.catch(async (error: unknown) => {
                await body.discard()
                throw error
              })
            } finally {
              await found.body.close()
            }
          }
          bytes += read.size
          return { did: 'changed' }
        }),
      )
      const scanned = new Date().toISOString()
      const { counts } = await countKeys(io, all)
      const uploads = counts.filter(({ kind }) => kind === 'plain').flatMap(count => count.uploads)
      const reason = 'open upload without encryption: complete it and give the command again, or abort it'
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
      await printReport(io, args.flag('json'), report, { done: 'sealed under', bytes: 'of plaintext' })
      if (!dryRun) assertNoneLeft(report.left)
    } finally {
      await opened.close()
    }
  },
})
