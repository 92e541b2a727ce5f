/** The configuration of `sse-kms serve` as it is written: the schema, which is published as `docs/config.schema.json`. Needs zod. */
import { z } from 'zod'
import { tenantAdmin } from '../sse/profile.ts'

/** A secret as it is written: itself, or where it is. */
export type SecretFile = string | VariableFile

/** The name of an environment variable. */
export interface VariableFile {
  readonly environment: string
}

/** A user as it is written. */
export interface UserFile {
  readonly name: string
  readonly accessKeyId: string
  readonly secretAccessKey: SecretFile
  readonly roles: readonly string[]
}

/** A tenant as it is written. */
export interface TenantFile {
  readonly domainId: string
  readonly projectId: string
  readonly users: readonly UserFile[]
}

/** Where a root key comes from, as it is written. */
export type RootKeyFile =
  { readonly file: string; readonly create: boolean } | VariableFile | { readonly passphrase: SecretFile }

/** A configuration as it is written, its simple defaults filled in. */
export interface ConfigFile {
  readonly $schema?: string | undefined
  readonly region: string
  readonly profile: 'obs' | 's3'
  readonly listen: string
  readonly data: string
  readonly rootKey?: RootKeyFile | undefined
  readonly hosts?: readonly string[] | undefined
  readonly tenants?: readonly TenantFile[] | undefined
  readonly customerKeys?: boolean | undefined
  readonly lenientParts: boolean
  readonly baseEncryption?: 'none' | 'sse-s3' | undefined
  readonly defaultChecksum?: 'none' | 'crc64nvme' | undefined
  readonly bucketKeySeconds: number
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  readonly log: 'text' | 'json' | 'none'
}

const text = () => z.string().min(1, { error: 'expected a string that is not empty' })

const variable = z.strictObject({
  environment: z
    .string({ error: 'expected the name of an environment variable' })
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'expected the name of an environment variable' })
    .describe('Name of the environment variable that holds the secret.'),
})

const secret = z.union([text(), variable], {
  error: 'expected a string, or { "environment": "NAME" }',
})

const scopePart = (what: string) =>
  z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, { error: `expected ${what} of 1 to 64 of A-Z, a-z, 0-9, _ and -` })

const user = z.strictObject({
  name: text().max(64).describe('For messages and the log.'),
  accessKeyId: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,128}$/, { error: 'expected 1 to 128 of A-Z, a-z, 0-9, _, . and -' })
    .describe('Unique in the whole configuration.'),
  secretAccessKey: secret.describe('The secret itself, or the environment variable that holds it.'),
  roles: z
    .array(z.literal(tenantAdmin, { error: `expected "${tenantAdmin}", the only role there is` }))
    .default([])
    .describe('tenant_admin: may use SSE-KMS in the obs profile.'),
})

const tenant = z.strictObject({
  domainId: scopePart('a domain id').describe('Id of the tenant, unique; part of the ARN of its keys.'),
  projectId: scopePart('a project id').describe('Its one KMS project.'),
  users: z.array(user).min(1, { error: 'expected at least one user' }),
})

const rootKey = z.union(
  [
    z.strictObject({
      file: text().describe('A file of 32 bytes, or of their hex or base64.'),
      create: z.boolean().default(false).describe('Make it, mode 0600, together with a new key store.'),
    }),
    variable,
    z.strictObject({ passphrase: secret.describe('A passphrase that the root key is derived from with scrypt.') }),
  ],
  { error: 'expected { "file": "…" }, { "environment": "NAME" } or { "passphrase": … }' },
)

/** HOST:PORT, an IPv6 host in brackets. */
const listenPattern = /^(?:\[[0-9A-Fa-f:.]+\]|[^:[\]\s/]+):\d{1,5}$/

const schema: z.ZodType<ConfigFile> = z
  .strictObject({
    $schema: z.string().optional().describe('For editors; ignored.'),
    region: scopePart('a region').default('sichuan').describe('Region that is served; part of the ARN of its keys.'),
    profile: z
      .enum(['obs', 's3'], { error: 'expected "obs" or "s3"' })
      .default('obs')
      .describe('Whose rules hold: those of OBS (strict) or of Amazon S3.'),
    listen: z
      .string()
      .regex(listenPattern, { error: 'expected HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000' })
      .default('127.0.0.1:9000')
      .describe('HOST:PORT to listen on; port 0 takes a free one.'),
    data: text().default('./data').describe('Folder of keys and objects, from the current directory.'),
    rootKey: rootKey
      .optional()
      .describe(
        'Where the root key of the key store comes from. Default: $SSE_KMS_ROOT_KEY, else $SSE_KMS_PASSPHRASE, else root.key in the data folder, which is made.',
      ),
    hosts: z
      .array(
        z
          .string()
          .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/, { error: 'expected a host name in lower case, without a port' }),
      )
      .optional()
      .describe('Names under which BUCKET.NAME is taken for a bucket. Default: the host of listen, and localhost.'),
    tenants: z
      .array(tenant)
      .min(1, { error: 'expected at least one tenant' })
      .optional()
      .describe(
        'Who may come in. Default: a demo tenant whose secrets are made at the first start, in demo.json in the data folder.',
      ),
    customerKeys: z
      .boolean()
      .optional()
      .describe('Whether keys that customers made may be used. Default: no in obs, yes in s3.'),
    lenientParts: z
      .boolean()
      .default(false)
      .describe(
        'Ignore encryption headers on parts and Complete, where some clients repeat them, instead of refusing them.',
      ),
    baseEncryption: z
      .enum(['none', 'sse-s3'], { error: 'expected "none" or "sse-s3"' })
      .optional()
      .describe('What an object gets that nobody said anything about. Default: none in obs, sse-s3 in s3.'),
    defaultChecksum: z
      .enum(['none', 'crc64nvme'], { error: 'expected "none" or "crc64nvme"' })
      .optional()
      .describe('The checksum of a body that came without one. Default: none in obs, crc64nvme in s3.'),
    bucketKeySeconds: z
      .int({ error: 'expected whole seconds' })
      .min(1, { error: 'expected 1 to 86400 seconds' })
      .max(86_400, { error: 'expected 1 to 86400 seconds' })
      .default(300)
      .describe(
        'Seconds that a bucket key is used before the key store is asked again; that a key was disabled is noticed no later.',
      ),
    tls: z
      .strictObject({
        cert: text().describe('File of the certificate and its chain, PEM.'),
        key: text().describe('File of its private key, PEM.'),
      })
      .optional()
      .describe('Serve HTTPS. Default: HTTP.'),
    log: z
      .enum(['text', 'json', 'none'], { error: 'expected "text", "json" or "none"' })
      .default('text')
      .describe('How requests are logged, to stderr.'),
  })
  .meta({ title: 'Configuration of sse-kms serve' })

const pathOf = (keys: readonly PropertyKey[]): string =>
  keys.map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`)).join('')

const problemOf = (issue: z.core.$ZodIssue): string => {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(name => `${pathOf([...issue.path, name])}: there is no such field`).join('; ')
  }
  const message = issue.message.replace(/^Invalid input: /, '')
  return issue.path.length === 0 ? message : `${pathOf(issue.path)}: ${message}`
}

/** A configuration, its defaults filled in; or what is wrong with it, such as `tenants[0].users[1].name: expected string`. */
export type Checked =
  | { readonly config: ConfigFile; readonly problems?: undefined }
  | { readonly config?: undefined; readonly problems: readonly string[] }

/** Checks a configuration that was parsed. */
export const checkConfig = (input: unknown): Checked => {
  const { success, data, error } = schema.safeParse(input)
  return success ? { config: data } : { problems: error.issues.map(problemOf) }
}

/** The schema as JSON Schema, draft 2020-12. */
export const jsonSchema = (): Readonly<Record<string, unknown>> => ({ ...z.toJSONSchema(schema, { io: 'input' }) })
