/**
 * The configuration of `sse-kms serve` as a file has it: its schema, which is published as `docs/config.schema.json`, and how a file is
 * read and checked. Needs zod.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { defaultLimits } from '../gateway/limits.ts'
import { grantableRights } from '../sse/grants.ts'
import { parseKeyReference } from '../sse/key-id.ts'
import { tenantAdmin } from '../sse/profile.ts'
import { managers } from './kms-schema.ts'
import { problemsOf } from './problems.ts'
import { storeSchema } from './store-schema.ts'
import { invalidConfig, secret, text, variable } from './secrets.ts'

const scopePart = (what: string) =>
  z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, { error: `expected ${what} of 1 to 64 of A-Z, a-z, 0-9, _ and -` })

const accessKeyId = () =>
  z.string().regex(/^[A-Za-z0-9_.-]{1,128}$/, { error: 'expected 1 to 128 of A-Z, a-z, 0-9, _, . and -' })

const roles = () => z.array(z.literal(tenantAdmin, { error: `expected "${tenantAdmin}", the only role there is` }))

const user = z.strictObject({
  name: text().max(64).describe('Name for messages and the log.'),
  accessKeyId: accessKeyId().describe('Access key id, unique in the whole configuration.'),
  secretAccessKey: secret.describe(
    'Secret access key: the text itself, or the environment variable or file that holds it.',
  ),
  roles: roles().default([]).describe('Roles. tenant_admin: may use SSE-KMS in the obs profile.'),
})

const isKeyName = (name: string): boolean => {
  try {
    parseKeyReference(name)
    return true
  } catch {
    return false
  }
}

const keyName = z.string().refine(isKeyName, { error: 'expected the ARN or id of a key, or alias/NAME' })

const keyGrant = z
  .strictObject({
    keys: z
      .array(keyName)
      .min(1, { error: 'expected at least one key; leave keys out for all' })
      .optional()
      .describe('Keys of the tenant, each by ARN, id or alias/NAME. Default: all of them.'),
    users: z.array(accessKeyId()).default([]).describe('Users of the tenant, by access key id.'),
    roles: roles().default([]).describe('Whoever has one of these roles.'),
    rights: z
      .array(z.enum(grantableRights, { error: `expected one of ${grantableRights.join(', ')}` }))
      .min(1, { error: 'expected at least one right' })
      .describe('What they may do with the keys.'),
  })
  .refine(({ users, roles }) => users.length + roles.length > 0, { error: 'expected users or roles' })

const tenant = z.strictObject({
  domainId: scopePart('a domain id').describe('Id of the tenant, unique. Part of the ARN of its keys.'),
  projectId: scopePart('a project id').describe('Id of its one KMS project.'),
  users: z.array(user).min(1, { error: 'expected at least one user' }),
  keyGrants: z
    .array(keyGrant)
    .optional()
    .describe(
      'Rights to use keys of the tenant. With any, nobody has a right that no grant gives. Default: everybody has all; in obs everybody with the role tenant_admin.',
    ),
})

const rootKey = z.union(
  [
    z.strictObject({
      file: text().describe(
        'File of 32 bytes, raw or in hex or base64; or several in hex or base64, one a line, the newest first.',
      ),
      create: z.boolean().default(false).describe('Make the file, mode 0600, together with a new key store.'),
    }),
    variable,
    z.strictObject({ passphrase: secret.describe('Passphrase to derive the root key from, with scrypt.') }),
  ],
  { error: 'expected { "file": "…" }, { "environment": "NAME" } or { "passphrase": … }' },
)

const most = 1_000_000_000

const whole = (standard: number) => {
  const error = `expected a whole number from 1 to ${most}`
  return z.int({ error }).min(1, { error }).max(most, { error }).default(standard)
}

const wrongDays = { error: 'expected 0 to 36500 days' }

const limits = z.strictObject({
  connections: whole(1024).describe('Open connections. Further ones are closed at once.'),
  connectionsPerAddress: whole(512).describe(
    'Open connections of one address (of IPv6: of one /64). Behind a proxy all are of its address: set it as high as connections.',
  ),
  headerSeconds: whole(20).describe(
    'Seconds in which the headers of a request must have come whole. The same holds for a TLS handshake.',
  ),
  idleSeconds: whole(30).describe('Seconds that a connection is kept between two requests.'),
  bytesPerSecond: whole(defaultLimits.bytesPerSecond).describe(
    'Bytes a second, on average, at which a body must come and an answer be taken.',
  ),
  stallSeconds: whole(defaultLimits.stallSeconds).describe(
    'Seconds without a byte of a body after which the request is refused, and without a byte taken of an answer after which the connection is closed (at the latest after twice as many).',
  ),
  documentSeconds: whole(defaultLimits.documentSeconds).describe(
    'Seconds in which XML, JSON or the fields of a form must have come whole.',
  ),
  memoryBytes: whole(defaultLimits.memoryBytes).describe(
    'Bytes that all requests together may hold: XML, JSON and fields of forms that come, and answers that wait for slow clients. Beyond them a document is refused with 503 SlowDown.',
  ),
  bucketsPerTenant: whole(defaultLimits.bucketsPerTenant).describe(
    'Buckets of a tenant. Another one is refused with 400 TooManyBuckets.',
  ),
  uploadsPerBucket: whole(defaultLimits.uploadsPerBucket).describe(
    'Open multipart uploads of a bucket. Another one is refused with 400 InvalidRequest.',
  ),
  uploadDays: z
    .int(wrongDays)
    .min(0, wrongDays)
    .max(36_500, wrongDays)
    .default(0)
    .describe('Days after which a multipart upload that nobody completed is aborted. 0: never, as in S3.'),
  kmsSeconds: whole(defaultLimits.kmsSeconds).describe(
    'Seconds that the key store has for each call. After them the answer is 503 ServiceUnavailable.',
  ),
})

const wrongWorkers = { error: 'expected 1 to 256, or "auto"' }

/** HOST:PORT. An IPv6 host stands in brackets. */
const listenPattern = /^(?:\[[0-9A-Fa-f:.]+\]|[^:[\]\s/]+):\d{1,5}$/

const schema = z
  .strictObject({
    $schema: z.string().optional().describe('For editors. Ignored.'),
    region: scopePart('a region').default('sichuan').describe('Region of the gateway. Part of the ARN of its keys.'),
    profile: z
      .enum(['obs', 's3'], { error: 'expected "obs" or "s3"' })
      .default('obs')
      .describe('Rules to apply: those of OBS (strict) or of Amazon S3.'),
    listen: z
      .string()
      .regex(listenPattern, { error: 'expected HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000' })
      .default('127.0.0.1:9000')
      .describe('HOST:PORT to listen on. Port 0 takes any free port.'),
    data: text().default('./data').describe('Folder of keys and objects, relative to the current directory.'),
    rootKey: rootKey
      .optional()
      .describe(
        'Source of the root key of the embedded key store. Default: $SSE_KMS_ROOT_KEY, else $SSE_KMS_PASSPHRASE, else root.key in the data folder, which is made.',
      ),
    kms: managers
      .optional()
      .describe(
        'Key managers, in the order in which their rules are looked at. Default: the embedded key store, in the data folder.',
      ),
    store: storeSchema.optional().describe('Where objects live. Default: all in the data folder.'),
    hosts: z
      .array(
        z
          .string()
          .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/, { error: 'expected a host name in lower case, without a port' }),
      )
      .optional()
      .describe(
        'Host names NAME for which BUCKET.NAME addresses a bucket. Default: the host of listen, and localhost.',
      ),
    tenants: z
      .array(tenant)
      .min(1, { error: 'expected at least one tenant' })
      .optional()
      .describe(
        'Tenants and their users. Default: a demo tenant, whose secrets are made at the first start and kept in demo.json in the data folder.',
      ),
    customerKeys: z
      .boolean()
      .optional()
      .describe('Whether requests may name keys that customers made. Default: no in obs, yes in s3.'),
    lenientParts: z
      .boolean()
      .default(false)
      .describe(
        'Ignore encryption headers of UploadPart and CompleteMultipartUpload, which some clients repeat, instead of refusing them.',
      ),
    baseEncryption: z
      .enum(['none', 'sse-s3'], { error: 'expected "none" or "sse-s3"' })
      .optional()
      .describe(
        'Encryption of objects for which neither the request nor the bucket asks for one. Default: none in obs, sse-s3 in s3.',
      ),
    defaultChecksum: z
      .enum(['none', 'crc64nvme'], { error: 'expected "none" or "crc64nvme"' })
      .optional()
      .describe('Checksum that is kept of a body that comes without one. Default: none in obs, crc64nvme in s3.'),
    bucketKeySeconds: z
      .int({ error: 'expected whole seconds' })
      .min(1, { error: 'expected 1 to 86400 seconds' })
      .max(86_400, { error: 'expected 1 to 86400 seconds' })
      .default(300)
      .describe(
        'Seconds that a bucket key is used before the key store is asked again. A disabled key stops reads after this time at the latest.',
      ),
    tls: z
      .strictObject({
        cert: text().describe('File of the certificate and its chain, in PEM.'),
        key: text().describe('File of its private key, in PEM.'),
      })
      .optional()
      .describe('Certificate and key to serve HTTPS with. Default: HTTP.'),
    admin: z
      .strictObject({
        listen: z
          .string()
          .regex(listenPattern, { error: 'expected HOST:PORT, such as 127.0.0.1:9001 or [::1]:9001' })
          .default('127.0.0.1:9001')
          .describe('HOST:PORT to listen on.'),
        allowRemote: z.boolean().default(false).describe('Whether listen may be another address than loopback.'),
      })
      .optional()
      .describe('A second address, for the operator alone, with /livez, /readyz and /metrics. Default: none.'),
    drainSeconds: z
      .int({ error: 'expected whole seconds' })
      .min(0, { error: 'expected 0 to 3600 seconds' })
      .max(3600, { error: 'expected 0 to 3600 seconds' })
      .default(0)
      .describe(
        'Seconds after SIGTERM in which requests are still taken while /readyz answers 503, so that a balancer notices.',
      ),
    workers: z
      .union([z.int(wrongWorkers).min(1, wrongWorkers).max(256, wrongWorkers), z.literal('auto')], wrongWorkers)
      .default(1)
      .describe('Processes that take requests, on one address. "auto": as many as there are processors.'),
    limits: limits.prefault({}).describe('What clients may take of the server, each limit with a default.'),
    log: z
      .enum(['text', 'json', 'none'], { error: 'expected "text", "json" or "none"' })
      .default('text')
      .describe('Format of the request log on stderr.'),
    accessLog: text()
      .optional()
      .describe(
        'File that gets a line of JSON for each request, instead of stderr. Warnings stay there. Default: none.',
      ),
    audit: text()
      .optional()
      .describe(
        'File, or "stderr", that gets a line of JSON for each use of a master key and for each that was refused for want of a right. Default: none.',
      ),
  })
  .meta({ title: 'Configuration of sse-kms serve' })

/** A tenant and its users. */
export type TenantFile = z.output<typeof tenant>

/** A configuration as it is written, with defaults that depend on nothing else. */
export type ConfigFile = z.output<typeof schema>

/** Checks a parsed configuration. Each problem names its field, such as `tenants[0].users[1].name: expected string`. */
export const checkConfig = (
  input: unknown,
):
  | { readonly config: ConfigFile; readonly problems?: undefined }
  | { readonly config?: undefined; readonly problems: readonly string[] } => {
  const { success, data, error } = schema.safeParse(input)
  return success ? { config: data } : { problems: problemsOf(error) }
}

/** The schema as JSON Schema, draft 2020-12. */
export const jsonSchema = (): Readonly<Record<string, unknown>> => ({ ...z.toJSONSchema(schema, { io: 'input' }) })

/** The parsed configuration with its defaults. Throws `InvalidConfig`, which names the wrong fields. */
export const toConfig = (where: string, input: unknown): ConfigFile => {
  const { config, problems } = checkConfig(input)
  if (config === undefined) throw invalidConfig(where, ...problems)
  return config
}

/** Reads a configuration from a file. Rejects with `InvalidConfig`, which names the wrong fields. */
export const readConfigFile = async (path: string): Promise<ConfigFile> => {
  const text = await readFile(path, 'utf8')
  try {
    return toConfig(path, JSON.parse(text))
  } catch (cause) {
    throw cause instanceof SyntaxError ? invalidConfig(path, `this is not JSON, ${String(cause)}`) : cause
  }
}
