/**
 * The configuration of `sse-kms serve` as the gateway takes it: a file, the flags that override it, its secrets from the environment, and
 * a default for whatever nobody said.
 */
import { resolve } from 'node:path'
import type { RootKeySource } from '../kms/local/root-key.ts'
import { checked, readConfigFile, wrong } from './config-file.ts'
import type { ConfigFile, SecretFile, TenantFile } from './config-schema.ts'
import { type Demo, demoTenants } from './demo.ts'
import type { Environment } from './io.ts'
import { dataPlace, rootKeySource } from './key-store.ts'

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
}

/** A configuration, checked and complete. */
export interface Config {
  readonly region: string
  readonly profile: 'obs' | 's3'
  /** Where to listen; a host of IPv6 has no brackets, port 0 means any. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Folder of keys and objects, absolute. The key store lies in `keys` in it. */
  readonly data: string
  /** Root key of the key store. */
  readonly rootKey: RootKeySource
  /** Names under which `BUCKET.NAME` is taken for a bucket, without ports. */
  readonly hosts: readonly string[]
  readonly tenants: readonly ConfigTenant[]
  /** Left out: what the profile says. */
  readonly customerKeys?: boolean
  readonly lenientParts: boolean
  /** Left out: what the profile says. */
  readonly baseEncryption?: 'none' | 'sse-s3'
  readonly defaultChecksum: 'none' | 'crc64nvme'
  /** Seconds that a bucket key is used. */
  readonly bucketKeySeconds: number
  /** Files in PEM, absolute. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly log: 'text' | 'json' | 'none'
}

/** What the command line says; it goes before the file. */
export interface ConfigFlags {
  readonly listen?: string | undefined
  readonly data?: string | undefined
  readonly region?: string | undefined
  readonly profile?: string | undefined
  readonly log?: string | undefined
  readonly rootKeyFile?: string | undefined
}

/** A configuration, and the demo tenant where nobody named others. */
export interface LoadedConfig {
  readonly config: Config
  readonly demo: Demo | undefined
}

const secretOf = (secret: SecretFile, env: Environment, where: string, path: string): string => {
  if (typeof secret === 'string') return secret
  const value = env[secret.environment]
  if (value === undefined || value === '') {
    throw wrong(where, `${path}: the environment variable ${secret.environment} is not set`)
  }
  return value
}

/** Tenants with their secrets; `InvalidConfig` where an id is there twice or a secret is missing. */
const tenantsOf = (tenants: readonly TenantFile[], env: Environment, where: string): readonly ConfigTenant[] => {
  const seen = new Map<string, string>()
  const once = (kind: string, value: string, path: string): void => {
    const before = seen.get(`${kind} ${value}`)
    if (before !== undefined) throw wrong(where, `${path}: ${value} is there already, in ${before}`)
    seen.set(`${kind} ${value}`, path)
  }
  return tenants.map(({ domainId, projectId, users }, i) => {
    once('domain', domainId, `tenants[${i}].domainId`)
    return {
      domainId,
      projectId,
      users: users.map(({ name, accessKeyId, secretAccessKey, roles }, j) => {
        const path = `tenants[${i}].users[${j}]`
        once('access key', accessKeyId, `${path}.accessKeyId`)
        return {
          name,
          accessKeyId,
          secretAccessKey: secretOf(secretAccessKey, env, where, `${path}.secretAccessKey`),
          roles,
        }
      }),
    }
  })
}

const listenOf = (text: string, where: string): Config['listen'] => {
  const colon = text.lastIndexOf(':')
  const port = Number(text.slice(colon + 1))
  if (port > 65_535) throw wrong(where, 'listen: expected a port up to 65535')
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
  if ('passphrase' in rootKey) return { passphrase: secretOf(rootKey.passphrase, env, where, 'rootKey.passphrase') }
  return 'file' in rootKey ? { file: resolve(rootKey.file), create: rootKey.create } : rootKey
}

/** The tenants of a file, or the demo tenant; `from` says which file they stand in. */
const tenantsIn = async (
  { tenants }: ConfigFile,
  data: string,
  where: string,
): Promise<{ readonly tenants: readonly TenantFile[]; readonly from: string; readonly demo: Demo | undefined }> => {
  if (tenants !== undefined) return { tenants, from: where, demo: undefined }
  const demo = await demoTenants(data)
  return { tenants: demo.tenants, from: demo.path, demo }
}

/**
 * The configuration of a file (none: all defaults) under the flags. Makes the demo tenant's secrets at the first start without tenants.
 * `InvalidConfig` names the field that is wrong.
 */
export const loadConfig = async (
  path: string | undefined,
  { rootKeyFile, ...flags }: ConfigFlags,
  env: Environment,
): Promise<LoadedConfig> => {
  const where = path ?? 'configuration'
  const written = path === undefined ? {} : await readConfigFile(path)
  const said = Object.entries(flags).filter(([, value]) => value !== undefined)
  const file = checked('command line', { ...written, ...Object.fromEntries(said) })
  const data = resolve(file.data)
  const listen = listenOf(file.listen, where)
  const { tenants, from, demo } = await tenantsIn(file, data, where)
  const { region, profile, lenientParts, bucketKeySeconds, log } = file
  const config: Config = {
    region,
    profile,
    listen,
    data,
    rootKey: rootKeyOf(file, data, rootKeyFile, env, where),
    hosts: file.hosts ?? hostsOf(listen),
    tenants: tenantsOf(tenants, env, from),
    ...(file.customerKeys === undefined ? {} : { customerKeys: file.customerKeys }),
    lenientParts,
    ...(file.baseEncryption === undefined ? {} : { baseEncryption: file.baseEncryption }),
    defaultChecksum: file.defaultChecksum ?? (profile === 's3' ? 'crc64nvme' : 'none'),
    bucketKeySeconds,
    ...(file.tls === undefined ? {} : { tls: { cert: resolve(file.tls.cert), key: resolve(file.tls.key) } }),
    log,
  }
  return { config, demo }
}
