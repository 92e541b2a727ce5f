/** Where objects live, as a configuration has it: its schema. Needs zod. */
import { z } from 'zod'
import { secret, text } from './secrets.ts'

const count = (standard: number, least: number, most: number) => {
  const error = `expected a whole number from ${least} to ${most}`
  return z.int({ error }).min(least, { error }).max(most, { error }).default(standard)
}

const postgres = z.strictObject({
  url: secret.describe(
    'Where the database is: postgres://USER:PASSWORD@HOST:PORT/DATABASE, or the variable or file that says so.',
  ),
  ca: text().optional().describe('File of the certificates to trust, in PEM. With it the connection is TLS.'),
  connections: count(10, 1, 1000).describe(
    'Connections for requests, at most; four more are for the work behind them.',
  ),
})

const s3 = z.strictObject({
  bucket: text().describe('The bucket, which is there already.'),
  prefix: text()
    .optional()
    .describe('Folder of the bucket. Bodies lie in a folder of their own under it. Default: all of the bucket.'),
  region: text().optional().describe('Region. Default: as the AWS SDK finds it.'),
  endpoint: z
    .url({ protocol: /^https?$/, error: 'expected a URL such as https://s3.example.com' })
    .optional()
    .describe('Address of the storage. Default: that of Amazon S3 in the region.'),
  pathStyle: z.boolean().default(true).describe('Whether the bucket stands in the path, not in the host.'),
  accessKeyId: text().optional().describe('Access key id. Default: as the AWS SDK finds credentials.'),
  secretAccessKey: secret.optional().describe('Its secret access key.'),
  checksum: z
    .enum(['crc32', 'crc32c', 'crc64nvme', 'md5'], { error: 'expected "crc32", "crc32c", "crc64nvme" or "md5"' })
    .default('crc32')
    .describe('What the storage checks that it got what was sent. md5 is for storage that does not know the others.'),
  partMiB: count(16, 5, 5120).describe('MiB of a part. A body up to this is one PUT.'),
  partsInFlight: count(2, 1, 16).describe(
    'Parts that are sent at a time. A body takes memory of one part more than these.',
  ),
})

/** Where objects live. */
export const storeSchema = z.strictObject({
  index: z
    .union([z.literal('embedded'), z.strictObject({ postgres })], {
      error: 'expected "embedded" or { "postgres": { … } }',
    })
    .default('embedded')
    .describe('Index of the objects: in the data folder, for one machine, or in PostgreSQL, for any number of them.'),
  bodies: z
    .union([z.literal('files'), z.strictObject({ s3 })], { error: 'expected "files" or { "s3": { … } }' })
    .default('files')
    .describe('Bodies of the objects: files in the data folder, or in S3-compatible storage.'),
  graceSeconds: count(3600, 60, 31_536_000).describe(
    'Seconds for which a body is kept after its object was deleted or replaced: at least the age of the oldest backup of the index that is to be restorable.',
  ),
})

/** Where objects live, as a configuration has it. */
export type StoreFile = z.output<typeof storeSchema>
