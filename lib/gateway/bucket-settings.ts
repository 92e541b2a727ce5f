/** The settings of a bucket that are more than a text: its default encryption, to and from what the store keeps. */
import { SseError } from '../errors.ts'
import { type BucketEncryption, formatBucketEncryption, parseBucketEncryption } from '../sse/bucket-encryption.ts'
import type { Bucket } from '../store/store.ts'

/** A bucket's settings with one of them set, or taken out. */
export const withSetting = ({ settings }: Bucket, name: string, value: string | undefined): Bucket['settings'] => {
  const { [name]: _old, ...others } = settings
  return value === undefined ? others : { ...others, [name]: value }
}

/** What the store keeps of a default encryption. */
export const encryptionSetting = (encryption: BucketEncryption): string =>
  JSON.stringify(formatBucketEncryption(encryption, 's3'))

/** The default encryption that a bucket is configured with, if it is. `StoreFailed` where its text is none: nothing is written then. */
export const bucketEncryption = ({ settings }: Bucket): BucketEncryption | undefined => {
  const text = settings['encryption']
  if (text === undefined) return undefined
  try {
    return parseBucketEncryption(JSON.parse(text))
  } catch (cause) {
    throw new SseError('StoreFailed', {
      message: 'The default encryption of the bucket cannot be read. Put it again, or delete it.',
      cause,
    })
  }
}
