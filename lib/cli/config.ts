/**
 * The configuration of `sse-kms serve` as the gateway takes it: a file, flags that override it, secrets from the environment and all
 * defaults. Without tenants it has the demo tenant, an administrator and a user, whose secrets are made at the first start and kept in the
 * data folder, in a file that is a configuration itself.
 */
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { hex } from '../bytes.ts'
import { randomBytes } from '../cipher/random.ts'
import { makeDirectory } from '../files.ts'
import type { RootKeySource } from '../kms/local/root-key.ts'
import { type KeyGrant, namedKeys } from '../sse/grants.ts'
import { tenantAdmin } from '../sse/profile.ts'
import { type ConfigFile, readConfigFile, type TenantFile, toConfig } from './config-schema.ts'
import { createOnce } from './files.ts'
import type { Environment } from './io.ts'
import { dataPlace, rootKeySource } from './key-options.ts'
import { type ManagerSetup, managerSetups } from './key-managers.ts'
import { type StoreSetup, storeSetup } from './object-store.ts'
import { invalidConfig, secretOf } from './secrets.ts'

/** A user of a tenant. */
export interface ConfigUser {
  readonly name: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** `tenant_admin`, or nothing. */
  readonly roles: readonly string[]
}

/** A tenant and its users. */
export interface ConfigTenant {
  readonly domainId: string
  readonly projectId: string
  readonly users: readonly ConfigUser[]
  /** Rights to use its keys. Without any, those that the profile gives. */
  readonly keyGrants?: readonly Omit<KeyGrant, 'domainId'>[] | undefined
}

/** A configuration, checked and complete. */
export interface Config {
  readonly region: string
  readonly profile: 'obs' | 's3'
  /** Where to listen. An IPv6 host has no brackets. Port 0 means any. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Folder of keys and objects, absolute. The key store lies in `keys` in it. */
  readonly data: string
  /** Root key of the embedded key store. */
  readonly rootKey: RootKeySource
  /** Where objects live. In the data folder if left out. */
  readonly store?: StoreSetup
  /** Key managers. The embedded key store alone if left out. */
  readonly kms?: readonly ManagerSetup[]
  /** Host names `NAME`, without ports, for which `BUCKET.NAME` addresses a bucket. */
  readonly hosts: readonly string[]
  readonly tenants: readonly ConfigTenant[]
  /** The profile's default if left out. */
  readonly customerKeys?: boolean
  readonly lenientParts: boolean
  /** The profile's default if left out. */
  readonly baseEncryption?: 'none' | 'sse-s3'
  readonly defaultChecksum: 'none' | 'crc64nvme'
  /** Seconds that a bucket key is used. */
  readonly bucketKeySeconds: number
  /** Files in PEM, absolute. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** The operator's address. */
  readonly admin?: { readonly host: string; readonly port: number; readonly allowRemote: boolean }
  /** Seconds after a signal to stop in which requests are still taken. */
  readonly drainSeconds?: number
  /** Processes that take requests; one if left out. */
  readonly workers?: number
  /** What clients may take. */
  readonly limits: ConfigFile['limits']
  readonly log: 'text' | 'json' | 'none'
  /** A file, absolute, that gets the request log instead of stderr. */
  readonly accessLog?: string
  /** `stderr` or a file, absolute, that is told of uses of master keys. */
  readonly audit?: string
  /** For this start alone, so no field of the file: see `sweepAll` of the object store. */
  readonly sweepAll?: boolean
}

/** Flags of the command line. They override the file. */
export interface ConfigFlags {
  readonly listen?: string | undefined
  readonly data?: string | undefined
  readonly region?: string | undefined
  readonly profile?: string | undefined
  readonly log?: string | undefined
  readonly workers?: number | string | undefined
  readonly rootKeyFile?: string | undefined
  readonly sweepAll?: boolean | undefined
  /** Whether to make a demo tenant where no other is configured and there is none yet; yes where left out. */
  readonly makeDemo?: boolean | undefined
}

/** A configuration, and the demo tenant if no other is configured. */
export interface LoadedConfig {
  readonly config: Config
  readonly demo: Demo | undefined
  /** What the file says. */
  readonly written: ConfigFile
}

/** Throws `InvalidConfig` if grants of a tenant name a user or a key that is not its own. */
const checkGrants = ({ domainId, users, keyGrants = [] }: TenantFile, i: number, region: string, where: string) => {
  keyGrants.forEach((grant, j) => {
    const path = `tenants[${i}].keyGrants[${j}]`
    const stranger = grant.users.find(id => users.every(user => user.accessKeyId !== id))
    if (stranger !== undefined)
      throw invalidConfig(where, `${path}.users: ${stranger} is no access key id of the tenant`)
    for (const name of grant.keys ?? []) {
      try {
        namedKeys([name], region, domainId)
      } catch {
        throw invalidConfig(where, `${path}.keys: ${name} is no key of the tenant in ${region}`)
      }
    }
  })
}

/** Tenants with their secrets. Throws `InvalidConfig` if an id is used twice, a secret is missing or a grant is for another tenant's. */
const tenantsOf = (
  tenants: readonly TenantFile[],
  env: Environment,
  where: string,
  region: string,
): readonly ConfigTenant[] => {
  const paths = new Map<string, string>()
  const unique = (kind: string, value: string, path: string): void => {
    const earlier = paths.get(`${kind} ${value}`)
    if (earlier !== undefined) throw invalidConfig(where, `${path}: ${value} is used already, in ${earlier}`)
    paths.set(`${kind} ${value}`, path)
  }
  return tenants.map((tenant, i) => {
    unique('domain', tenant.domainId, `tenants[${i}].domainId`)
    const users = tenant.users.map((user, j) => {
      const path = `tenants[${i}].users[${j}]`
      unique('access key', user.accessKeyId, `${path}.accessKeyId`)
      const place = { env, where, path: `${path}.secretAccessKey` }
      return { ...user, secretAccessKey: secretOf(user.secretAccessKey, place) }
    })
    checkGrants(tenant, i, region, where)
    return { ...tenant, users }
  })
}

const listenOf = (text: string, where: string, path = 'listen'): Config['listen'] => {
  const colon = text.lastIndexOf(':')
  const port = Number(text.slice(colon + 1))
  if (port > 65_535) throw invalidConfig(where, `${path}: expected a port up to 65535`)
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port }
}

const hostsOf = ({ host }: Config['listen']): readonly string[] =>
  host === '0.0.0.0' || host.includes(':') ? ['localhost'] : [...new Set([host.toLowerCase(), 'localhost'])]

const rootKeyOf = (
  { rootKey }: ConfigFile,
  data: string,
  flag: string | undefined,
  env: Environment,
  where: string,
): RootKeySource => {
  if (flag !== undefined || rootKey === undefined) return rootKeySource(flag, env, dataPlace(data))
  if ('passphrase' in rootKey)
    return { passphrase: secretOf(rootKey.passphrase, { env, where, path: 'rootKey.passphrase' }) }
  return 'file' in rootKey ? { file: resolve(rootKey.file), create: rootKey.create } : rootKey
}

/**
 * The configuration of a file, or all defaults without one. `read` is what the file says, where it was read already. Makes the demo tenant if no
 * tenants are configured. Rejects with `InvalidConfig`, which names the wrong field.
 */
export const loadConfig = async (
  path: string | undefined,
  { rootKeyFile, sweepAll, makeDemo = true, ...flags }: ConfigFlags,
  env: Environment,
  read?: ConfigFile,
): Promise<LoadedConfig> => {
  const where = path ?? 'configuration'
  const written = read ?? (path === undefined ? toConfig(where, {}) : await readConfigFile(path))
  const given = Object.entries(flags).filter(([, value]) => value !== undefined)
  const file = toConfig('command line', { ...written, ...Object.fromEntries(given) })
  const data = resolve(file.data)
  const listen = listenOf(file.listen, where)
  const demo = file.tenants === undefined ? await demoTenants(data, makeDemo) : undefined
  const { region } = file
  const tenants =
    demo === undefined
      ? tenantsOf(file.tenants ?? [], env, where, region)
      : tenantsOf(demo.tenants, env, demo.path, region)
  const { profile, lenientParts, bucketKeySeconds, limits, log } = file
  const config: Config = {
    region,
    profile,
    listen,
    data,
    rootKey: rootKeyOf(file, data, rootKeyFile, env, where),
    ...(file.store === undefined ? {} : { store: storeSetup(file.store, { env, where }) }),
    ...(file.kms === undefined ? {} : { kms: managerSetups(file.kms, tenants, env, where) }),
    hosts: file.hosts ?? hostsOf(listen),
    tenants,
    ...(file.customerKeys === undefined ? {} : { customerKeys: file.customerKeys }),
    lenientParts,
    ...(file.baseEncryption === undefined ? {} : { baseEncryption: file.baseEncryption }),
    defaultChecksum: file.defaultChecksum ?? (profile === 's3' ? 'crc64nvme' : 'none'),
    bucketKeySeconds,
    ...(file.tls === undefined ? {} : { tls: { cert: resolve(file.tls.cert), key: resolve(file.tls.key) } }),
    ...(file.admin === undefined
      ? {}
      : { admin: { ...listenOf(file.admin.listen, where, 'admin.listen'), allowRemote: file.admin.allowRemote } }),
    drainSeconds: file.drainSeconds,
    workers: file.workers === 'auto' ? availableParallelism() : file.workers,
    limits,
    log,
    ...(file.accessLog === undefined ? {} : { accessLog: resolve(file.accessLog) }),
    ...(file.audit === undefined ? {} : { audit: file.audit === 'stderr' ? file.audit : resolve(file.audit) }),
    ...(sweepAll === true ? { sweepAll } : {}),
  }
  return { config, demo, written }
}

/** The demo tenant and its file. */
export interface Demo {
  readonly path: string
  /** Whether it is made by this call. */
  readonly isNew: boolean
  readonly tenants: readonly TenantFile[]
}

const newUser = (name: string, roles: TenantFile['users'][number]['roles']): TenantFile['users'][number] => ({
  name,
  accessKeyId: `DEMO${hex(randomBytes(8)).toUpperCase()}`,
  secretAccessKey: hex(randomBytes(20)),
  roles,
})

const newTenant = (): TenantFile => ({
  domainId: 'domainiddomainiddomainiddoma0001',
  projectId: 'projectidprojectidprojectid00001',
  users: [newUser('admin', [tenantAdmin]), newUser('user', [])],
})

/** The demo tenant of a data folder. Makes it if there is none, or does without; processes that start at once get the same. */
export const demoTenants = async (data: string, make = true): Promise<Demo> => {
  const path = join(data, 'demo.json')
  if (!make && !existsSync(path)) return { path, isNew: false, tenants: [] }
  await makeDirectory(data)
  const isNew = await createOnce(path, `${JSON.stringify({ tenants: [newTenant()] }, undefined, 2)}\n`)
  const { tenants } = await readConfigFile(path)
  if (tenants === undefined)
    throw invalidConfig(path, 'tenants: expected the demo tenant; delete the file to make a new one')
  return { path, isNew, tenants }
}
