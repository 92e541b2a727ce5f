/**
 * The key managers of a configuration: checked, with their secrets, and opened when they are needed. Their packages are optional, and loaded
 * by those that need them.
 */
import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { GuardOptions } from '../kms/decorators/guarded.ts'
import type { KeyManager } from '../kms/manager.ts'
import type { DefaultKeyScope } from '../kms/provider.ts'
import { serviceDomain } from '../gateway/services.ts'
import { glob } from '../policy/glob.ts'
import { needPackages } from './failure.ts'
import type { Environment } from './io.ts'
import type { ManagerFile, OutsideManagerFile } from './kms-schema.ts'
import { invalidConfig, type SecretFile, type SecretPlace, secretOf, secretSource } from './secrets.ts'

/** A key of a tenant, as the configuration names it. */
export type SetupKey = OutsideManagerFile['keys'][number]

/** A key manager outside this program, as it is configured. */
export interface OutsideManager {
  readonly provider: OutsideManagerFile['provider']
  readonly instance: string
  readonly keys: readonly SetupKey[]
  readonly createKeys: boolean
  /** Opens it, with the bounds that are configured around it. `MissingPeer` where a package is missing. */
  open(): Promise<KeyManager>
}

/** A key manager of a configuration. */
export interface ManagerSetup {
  /** Whether a default key is one of its keys. */
  serves(scope: DefaultKeyScope): boolean
  /** Left out: the embedded key store. */
  readonly outside?: OutsideManager
}

const at = (place: SecretPlace, field: string): SecretPlace => ({ ...place, path: `${place.path}.${field}` })

/** What the `tls` of a configuration names, read. */
const tlsOf = (entry: { readonly tls?: Extract<ManagerFile, { provider: 'kmip' }>['tls'] }, place: SecretPlace) => {
  if (entry.tls === undefined) return {}
  const { passphrase, servername, ...files } = entry.tls
  const pem = Object.entries(files).map(([field, path]) => {
    try {
      return [field, readFileSync(path ?? '', 'utf8')]
    } catch (error) {
      const reason = error instanceof Error ? error.message : ''
      throw invalidConfig(place.where, `${place.path}.tls.${field}: the file cannot be read: ${reason}`)
    }
  })
  return {
    tls: {
      ...Object.fromEntries(pem),
      ...(passphrase === undefined ? {} : { passphrase: secretOf(passphrase, at(place, 'tls.passphrase')) }),
      ...(servername === undefined ? {} : { servername }),
    },
  }
}

const optional = (secret: SecretFile | undefined, place: SecretPlace): (() => string) | undefined =>
  secret === undefined ? undefined : secretSource(secret, place)

type Opener<P extends OutsideManagerFile['provider']> = (
  entry: Extract<OutsideManagerFile, { provider: P }>,
  place: SecretPlace,
) => () => Promise<KeyManager>

const openAws: Opener<'aws'> = (entry, place) => {
  const { instance, region, endpoint, accessKeyId, secretAccessKey, sessionToken, fips, multiRegion } = entry
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw invalidConfig(place.where, `${place.path}: accessKeyId and secretAccessKey are given both or not at all`)
  }
  const secretKey = optional(secretAccessKey, at(place, 'secretAccessKey'))
  const token = optional(sessionToken, at(place, 'sessionToken'))
  return async () => {
    needPackages(['@aws-sdk/client-kms'])
    const { awsKms } = await import('../kms/aws/aws.ts')
    const config = {
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(fips ? { useFipsEndpoint: true } : {}),
      ...(accessKeyId === undefined || secretKey === undefined
        ? {}
        : {
            credentials: async () => ({
              accessKeyId,
              secretAccessKey: secretKey(),
              ...(token === undefined ? {} : { sessionToken: token() }),
            }),
          }),
    }
    return awsKms({ instance, config, multiRegion })
  }
}

const openHuawei: Opener<'huawei'> = (entry, place) => {
  const { instance, address, project, accessKey, secretKey, securityToken, token } = entry
  const wrong = `${place.path}: expected accessKey and secretKey, or token`
  const credentials = () => {
    if (token !== undefined) {
      if (accessKey !== undefined || secretKey !== undefined) throw invalidConfig(place.where, wrong)
      const source = secretSource(token, at(place, 'token'))
      return () => ({ token: source() })
    }
    if (accessKey === undefined || secretKey === undefined) throw invalidConfig(place.where, wrong)
    const secret = secretSource(secretKey, at(place, 'secretKey'))
    const temporary = optional(securityToken, at(place, 'securityToken'))
    return () => ({
      accessKey,
      secretKey: secret(),
      ...(temporary === undefined ? {} : { securityToken: temporary() }),
    })
  }
  const options = { instance, address, project, credentials: credentials(), ...tlsOf(entry, place) }
  return async () => (await import('../kms/huawei/huawei.ts')).huaweiKms(options)
}

const vaultAuth = (auth: Extract<ManagerFile, { provider: 'vault' }>['auth'], place: SecretPlace) => {
  if (auth.method === 'token') return { method: auth.method, token: secretSource(auth.token, at(place, 'auth.token')) }
  return auth.method === 'approle'
    ? { ...auth, secretId: secretSource(auth.secretId, at(place, 'auth.secretId')) }
    : { ...auth, jwt: secretSource(auth.jwt, at(place, 'auth.jwt')) }
}

const openVault: Opener<'vault'> = (entry, place) => {
  const { instance, address, mount, namespace, derived } = entry
  const auth = vaultAuth(entry.auth, place)
  const options = { instance, address, auth, mount, namespace, derived, ...tlsOf(entry, place) }
  return async () => (await import('../kms/vault/vault.ts')).vaultKms(options)
}

const openPkcs11: Opener<'pkcs11'> = (entry, place) => {
  const { instance, module, token, mechanism, sessions, moduleParameters } = entry
  const pin = secretSource(entry.pin, at(place, 'pin'))
  return async () => {
    needPackages(['pkcs11js'])
    const { pkcs11Kms } = await import('../kms/pkcs11/pkcs11.ts')
    return pkcs11Kms({ instance, module, token, pin, mechanism, sessions, moduleParameters })
  }
}

const openKmip: Opener<'kmip'> = (entry, place) => {
  const { instance, host, port, version, username, password, connections } = entry
  const credential = username === undefined ? undefined : { username, ...passwordOf(password, place) }
  const options = { instance, host, port, version, credential, connections, ...tlsOf(entry, place) }
  return async () => (await import('../kms/kmip/kmip.ts')).kmipKms(options)
}

const passwordOf = (password: Extract<ManagerFile, { provider: 'kmip' }>['password'], place: SecretPlace) =>
  password === undefined ? {} : { password: secretOf(password, at(place, 'password')) }

const isManager = (value: unknown): value is KeyManager =>
  typeof value === 'object' &&
  value !== null &&
  ['name', 'instance', 'bindsContext', 'generateDataKey', 'wrapDataKey', 'unwrapDataKey', 'describe'].every(
    field => field in value,
  )

const openOwn: Opener<'module'> = ({ instance, module, options }, { where, path }) => {
  const target = module.startsWith('.') || isAbsolute(module) ? pathToFileURL(resolve(module)).href : module
  const wrong = (reason: string): never => {
    throw invalidConfig(where, `${path}.module: ${module} ${reason}`)
  }
  return async () => {
    const loaded: unknown = await import(target).catch((error: unknown) => wrong(`cannot be loaded: ${String(error)}`))
    const open = new Map<string, unknown>(Object.entries(Object(loaded))).get('open')
    if (typeof open !== 'function') return wrong('does not export a function open(options)')
    const manager: unknown = await open({ ...options, instance })
    return isManager(manager) ? manager : wrong('opens no KeyManager. See docs/guide-provider.md')
  }
}

const openerOf = (entry: OutsideManagerFile, place: SecretPlace): (() => Promise<KeyManager>) => {
  switch (entry.provider) {
    case 'aws':
      return openAws(entry, place)
    case 'huawei':
      return openHuawei(entry, place)
    case 'vault':
      return openVault(entry, place)
    case 'pkcs11':
      return openPkcs11(entry, place)
    case 'kmip':
      return openKmip(entry, place)
    case 'module':
      return openOwn(entry, place)
  }
}

const guardOf = ({ bounds }: OutsideManagerFile): GuardOptions => ({
  deadline: bounds.deadlineSeconds * 1000,
  retry: { tries: bounds.tries },
  breaker: { failures: bounds.failures, rest: bounds.restSeconds * 1000 },
  bulkhead: { calls: bounds.calls, queue: bounds.queue },
  proof: bounds.proof,
  cache: bounds.cacheSeconds === 0 ? false : { timeToLive: bounds.cacheSeconds * 1000, size: bounds.cacheSize },
})

/** A key manager outside this program. Throws `InvalidConfig` where a secret or a certificate is missing. */
export const outsideManager = (entry: OutsideManagerFile, place: SecretPlace): OutsideManager => {
  const { provider, instance, keys, createKeys } = entry
  const opened = openerOf(entry, place)
  const open = async (): Promise<KeyManager> => {
    needPackages(['cockatiel'])
    const { guarded } = await import('../kms/decorators/guarded.ts')
    try {
      return guarded(await opened(), guardOf(entry))
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
      throw invalidConfig(place.where, `${place.path}: ${error.message}`)
    }
  }
  return { provider, instance, keys, createKeys, open }
}

const servesOf = ({ tenants, buckets }: ManagerFile): ManagerSetup['serves'] => {
  const isTenant = new Set(tenants)
  const isBucket = glob(buckets ?? [])
  return ({ domainId, bucket }) =>
    (tenants === undefined || isTenant.has(domainId)) &&
    (buckets === undefined || (bucket !== undefined && isBucket(bucket)))
}

/**
 * The key managers of a configuration, with their secrets. Throws `InvalidConfig`, which names the wrong field.
 */
export const managerSetups = (
  entries: readonly ManagerFile[],
  tenants: readonly { readonly domainId: string }[],
  env: Environment,
  where: string,
): readonly ManagerSetup[] => {
  const instances = new Map<string, string>()
  const known = new Set([...tenants.map(({ domainId }) => domainId), serviceDomain])
  const setups = entries.map((entry, i) => {
    const path = `kms[${i}]`
    const instance = entry.provider === 'local' ? 'local' : entry.instance
    const earlier = instances.get(instance)
    if (earlier !== undefined)
      throw invalidConfig(where, `${path}.instance: ${instance} is used already, in ${earlier}`)
    instances.set(instance, path)
    const named = [...(entry.tenants ?? []), ...('keys' in entry ? entry.keys.map(({ domainId }) => domainId) : [])]
    const stranger = named.find(domainId => !known.has(domainId))
    if (stranger !== undefined) throw invalidConfig(where, `${path}: there is no tenant ${stranger}`)
    const serves = servesOf(entry)
    return entry.provider === 'local' ? { serves } : { serves, outside: outsideManager(entry, { env, where, path }) }
  })
  for (const domainId of known) {
    if (setups.some(({ serves }) => serves({ region: '', domainId }))) continue
    const what = domainId === serviceDomain ? `the service itself (${serviceDomain})` : `tenant ${domainId}`
    throw invalidConfig(where, `kms: no key manager is for ${what}. Add one without tenants and buckets, or name it`)
  }
  return setups
}
