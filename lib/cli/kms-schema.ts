/** Key managers as a configuration has them: their schema. Needs zod. */
import { z } from 'zod'
import { secret, text } from './secrets.ts'

const instance = (standard: string) =>
  z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, { error: 'expected 1 to 32 of a-z, 0-9 and -' })
    .default(standard)
    .describe(
      'Name of this key manager. Ids of keys begin with it, so it must never change. Two of one kind need two names.',
    )

const count = (standard: number, least = 1) => {
  const error = `expected a whole number from ${least} to 1000000`
  return z.int({ error }).min(least, { error }).max(1_000_000, { error }).default(standard)
}

const address = () => z.url({ protocol: /^https?$/, error: 'expected a URL such as https://kms.example.com:8200' })

const tls = z.strictObject({
  ca: text().optional().describe('File of the certificates to trust, in PEM. Default: those that Node trusts.'),
  cert: text().optional().describe("File of this program's certificate, in PEM."),
  key: text().optional().describe('File of its private key, in PEM.'),
  passphrase: secret.optional().describe('Passphrase of that key.'),
  servername: text().optional().describe('Name in the certificate of the server, where it is not its host.'),
})

const tenantKey = z.strictObject({
  domainId: text().describe('Tenant that may use the key. sse-s3 is the service itself.'),
  key: text().describe('The key: its full id, or as the key manager writes it.'),
  alias: z
    .string()
    .regex(/^[A-Za-z0-9/_-]{1,256}$/, { error: 'expected 1 to 256 of A-Z, a-z, 0-9, /, _ and -' })
    .optional()
    .describe('Clients may name the key alias/NAME.'),
  default: z.boolean().default(false).describe("Makes it the tenant's default key. None is made then."),
})

const bounds = z.strictObject({
  deadlineSeconds: count(5).describe('Seconds of a call, with all of its tries.'),
  tries: count(3).describe('Tries of a call that is throttled or does not reach the key manager.'),
  calls: count(64).describe('Calls under way at once.'),
  queue: count(1024, 0).describe('Calls that wait for one of these. Further ones are throttled.'),
  failures: count(5).describe('Calls that fail in a row until the key manager is left alone.'),
  restSeconds: count(2).describe('Seconds that it is left alone.'),
  proof: z
    .boolean()
    .default(true)
    .describe(
      'Whether each new data key is unwrapped once before it is used: one more call for each object without a bucket key, and no object is lost under a wrong answer.',
    ),
  cacheSeconds: count(300, 0).describe(
    'Seconds that an unwrapped data key is kept in memory; 0 keeps none. A disabled key stops reads after this time at the latest.',
  ),
  cacheSize: count(1000).describe('Data keys kept at once.'),
})

const common = (name: string) => ({
  instance: instance(name),
  tenants: z
    .array(text())
    .optional()
    .describe('Domain ids of the tenants whose default keys are here. Default: all. sse-s3 is the service itself.'),
  buckets: z
    .array(text())
    .optional()
    .describe('Buckets whose default keys are here, * for any characters. Default: all.'),
  keys: z.array(tenantKey).default([]).describe('Keys that tenants may use besides.'),
  createKeys: z.boolean().default(true).describe('Whether default keys are made. If not, keys must name them.'),
  bounds: bounds.prefault({}).describe('What protects the server from a key manager that is slow or away.'),
})

const local = z.strictObject({
  provider: z.literal('local').describe('The key store in the data folder, under rootKey.'),
  tenants: common('local').tenants,
  buckets: common('local').buckets,
})

const aws = z.strictObject({
  provider: z.literal('aws').describe('AWS KMS.'),
  ...common('aws'),
  region: text().optional().describe('Region of the keys. Default: as the AWS SDK finds it, such as from AWS_REGION.'),
  endpoint: address().optional().describe('Address of the service. Default: that of the region.'),
  accessKeyId: text().optional().describe('Access key id. Default: as the AWS SDK finds credentials.'),
  secretAccessKey: secret.optional().describe('Its secret access key.'),
  sessionToken: secret.optional().describe('Its session token, where it is temporary.'),
  fips: z.boolean().default(false).describe('Whether to use FIPS endpoints.'),
  multiRegion: z.boolean().default(false).describe('Whether the keys that are made are multi-region keys.'),
})

const huawei = z.strictObject({
  provider: z.literal('huawei').describe("Huawei Cloud's key service, DEW."),
  ...common('huawei'),
  address: address().describe('Endpoint of the region, such as https://kms.cn-north-4.myhuaweicloud.com.'),
  project: text().describe('Id of the project that the keys are in.'),
  accessKey: text().optional().describe('Access key (AK). Either this and secretKey, or token.'),
  secretKey: secret.optional().describe('Secret key (SK).'),
  securityToken: secret.optional().describe('Goes with a temporary access key.'),
  token: secret.optional().describe('Token of the identity service, instead of an access key.'),
  tls: tls.optional().describe('Certificates.'),
})

const vaultAuth = z.discriminatedUnion(
  'method',
  [
    z.strictObject({ method: z.literal('token'), token: secret }),
    z.strictObject({ method: z.literal('approle'), roleId: text(), secretId: secret, mount: text().optional() }),
    z.strictObject({ method: z.literal('kubernetes'), role: text(), jwt: secret, mount: text().optional() }),
  ],
  { error: 'expected "method": "token", "approle" or "kubernetes"' },
)

const vault = z.strictObject({
  provider: z.literal('vault').describe('The Transit engine of Vault or OpenBao.'),
  ...common('vault'),
  address: address().describe('Address of Vault, such as https://vault.example.com:8200.'),
  auth: vaultAuth.describe(
    'How the server shows who it is: a token, an AppRole, or the token of a Kubernetes account.',
  ),
  mount: text().default('transit').describe('Where the Transit engine is mounted.'),
  namespace: text().optional().describe('Namespace of Vault Enterprise or OpenBao.'),
  derived: z.boolean().default(true).describe('Whether the keys are derived ones, which bind the encryption context.'),
  tls: tls.optional().describe('Certificates.'),
})

const pkcs11 = z.strictObject({
  provider: z.literal('pkcs11').describe('A token with PKCS#11, such as an HSM.'),
  ...common('pkcs11'),
  module: text().describe('File of the PKCS#11 module, a shared library.'),
  token: z
    .union([text(), z.strictObject({ slot: z.int().min(0) })], { error: 'expected a label, or { "slot": N }' })
    .describe('Label of the token, or { "slot": N }.'),
  pin: secret.describe("The user's PIN."),
  mechanism: z
    .enum(['aes-gcm', 'aes-key-wrap'], { error: 'expected "aes-gcm" or "aes-key-wrap"' })
    .default('aes-gcm')
    .describe('How data keys are wrapped. aes-key-wrap is for tokens without AES-GCM.'),
  sessions: count(4).describe('Sessions that work at a time.'),
  moduleParameters: text().optional().describe('Parameters that the module needs at its start, such as those of NSS.'),
})

const kmip = z.strictObject({
  provider: z.literal('kmip').describe('A KMIP server.'),
  ...common('kmip'),
  host: text().describe('Name or address of the server.'),
  port: z.int().min(1).max(65_535).default(5696).describe('Its port.'),
  version: z.enum(['1.4', '2.0'], { error: 'expected "1.4" or "2.0"' }).default('1.4').describe('Version of KMIP.'),
  username: text().optional().describe('User name, where the server wants one besides the certificate.'),
  password: secret.optional().describe('Its password.'),
  connections: count(8).describe('Connections at once, 1 to 1000.'),
  tls: tls.optional().describe('Certificates: the server wants those of this program.'),
})

const own = z.strictObject({
  provider: z.literal('module').describe('A key manager of your own.'),
  ...common('own'),
  module: text().describe('File or package that exports open(options), which gives a KeyManager.'),
  options: z.record(z.string(), z.unknown()).default({}).describe('What open is given, with instance.'),
})

const kinds = { local, aws, huawei, vault, pkcs11, kmip, module: own } as const

const names = Object.keys(kinds).map(name => `"${name}"`)

const manager = z.discriminatedUnion('provider', [local, aws, huawei, vault, pkcs11, kmip, own], {
  error: `expected "provider": ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`,
})

/** Key managers. The first one whose tenants and buckets fit makes a default key. */
export const managers = z
  .array(manager, { error: 'expected a list of key managers' })
  .min(1, { error: 'expected at least one key manager' })

/** A key manager as a configuration has it. */
export type ManagerFile = z.output<typeof manager>

/** A key manager outside this program. */
export type OutsideManagerFile = Exclude<ManagerFile, { provider: 'local' }>

/** The schema of each kind, for tables. */
export const managerKinds: Readonly<Record<string, z.ZodType>> = kinds
