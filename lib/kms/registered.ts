/**
 * The keys of tenants over a key manager that knows no tenants. Which keys a tenant has is decided by the configuration and by a register of
 * default keys, never by what a stored object says. Clients see ARNs; records hold the key manager's own ids.
 */
import { createHash } from 'node:crypto'
import { compare, hex, utf8 } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { orAborted } from './call.ts'
import type { KeyManager, ManagedKey } from './manager.ts'
import {
  type AcceptedKey,
  type AcceptScope,
  type CallOptions,
  formatArn,
  type KeyAdministration,
  type KeyDescription,
  type KeyQuery,
  type KeyScope,
} from './provider.ts'

/** Where default keys are recorded: an object store, or rows of your own that nobody else can write. */
export interface KeyRegister {
  /** Records a text under a name, and answers the one that stands: the first one does, for good. */
  claim(name: string, value: string): Promise<string>
  /** All that was recorded, by name. */
  claims(): Promise<ReadonlyMap<string, string>>
}

/** A key that the configuration gives to a tenant. */
export interface TenantKey extends KeyScope {
  /** The key: its full id, or as users of the key manager write it. */
  readonly key: string
  /** An alias that clients may name it by, without `alias/`. */
  readonly alias?: string | undefined
  /** Makes it the tenant's default key; none is made then. */
  readonly isDefault?: boolean | undefined
}

/** How keys belong to tenants. */
export interface RegisteredOptions {
  /** Records default keys. Without it the names of keys decide which one it is: for what comes before a register can be read. */
  readonly register?: KeyRegister | undefined
  /** Keys that tenants have already. */
  readonly keys?: readonly TenantKey[] | undefined
  /** Whether default keys are made; by default where the key manager can. */
  readonly create?: boolean | undefined
}

/** What a register's names of default keys begin with; region, domain and, where it is not the embedded key store, the instance follow. */
export const defaultKeyClaim = 'default-key/'

/** The name that a tenant's default key is made with: 64 letters at most, which is what some key managers take. */
export const defaultKeyName = ({ region, domainId }: KeyScope): string => {
  const digest = createHash('sha256').update(`${region}/${domainId}`).digest('hex').slice(0, 12)
  return `${`default-${region}-${domainId}`.slice(0, 51)}-${digest}`
}

const uuid = /([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/
const namespace = Buffer.from('6f1de2b1a3d54c7c9d55e7f0a4b8c92d', 'hex')

/** The id that clients see of a key: its own UUID, where it has one, else one made of its full id (UUIDv5). */
export const clientKeyId = (keyId: string): string => {
  const own = uuid.exec(keyId)?.[1]
  if (own !== undefined) return own
  const bytes = createHash('sha1').update(namespace).update(keyId).digest().subarray(0, 16)
  const text = hex(new Uint8Array(bytes))
  const variant = ((Number.parseInt(text.charAt(16), 16) & 3) | 8).toString(16)
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-5${text.slice(13, 16)}-${variant}${text.slice(17, 20)}-${text.slice(20)}`
}

/** A key of a tenant. */
interface Entry extends KeyScope {
  readonly keyId: string
  readonly arn: string
  readonly origin: 'service' | 'customer'
  readonly alias: string | undefined
  readonly isDefault: boolean
}

const entryOf = (
  { region, domainId }: KeyScope,
  keyId: string,
  more: Pick<Entry, 'origin' | 'alias' | 'isDefault'>,
): Entry => ({ region, domainId, keyId, arn: formatArn(region, domainId, clientKeyId(keyId)), ...more })

/** What an entry of a default key that was made has besides. */
const service = { origin: 'service', alias: undefined, isDefault: true } as const

const inScope = (entry: KeyScope, scope: KeyScope): boolean =>
  entry.region === scope.region && entry.domainId === scope.domainId

const notFound = (key: string): never => {
  throw new SseError('KeyNotFound', {
    message: `The key ${key} does not exist. Check its id, its tenant and its region.`,
  })
}

const noDefault = ({ region, domainId }: KeyScope, instance: string): never => {
  throw new SseError('KeyNotFound', {
    message:
      `Tenant ${domainId} has no default key in ${region}, and ${instance} may make none. ` +
      'Name one for the tenant in the configuration of the key manager, or allow keys to be made.',
  })
}

/**
 * A key manager's keys as those of tenants: what a gateway asks. The first call of `defaultKey` for a tenant makes its key, exactly one,
 * whoever asks at the same moment; who loses schedules the deletion of its own.
 *
 * {@includeCode ../../test/examples/kms.test.ts#registered}
 */
export const registered = (manager: KeyManager, options: RegisteredOptions = {}): KeyAdministration => {
  const { register, keys = [], create = true } = options
  const { instance, name } = manager
  const isFullId = (key: string): boolean => manager.holds?.(key) === true

  /** A configured key; one that is not named by its full id is resolved once. */
  const resolver = ({ key, alias, isDefault = false, region, domainId }: TenantKey): (() => Promise<Entry>) => {
    const origin = isDefault ? 'service' : 'customer'
    let known: Entry | undefined
    return async () => {
      if (known === undefined) {
        const keyId = isFullId(key) ? key : (await manager.describe(key)).keyId
        known = entryOf({ region, domainId }, keyId, { origin, alias, isDefault })
      }
      return known
    }
  }
  const configured = keys.map(key => ({ ...key, resolve: resolver(key) }))
  const configuredOf = (scope: KeyScope): Promise<readonly Entry[]> =>
    Promise.all(configured.filter(key => inScope(key, scope)).map(({ resolve }) => resolve()))

  const claimed = new Map<string, Entry>()
  /** Rows never change, so each is read once. */
  const readRegister = async (): Promise<void> => {
    for (const [claim, keyId] of (await register?.claims()) ?? []) {
      if (!claim.startsWith(defaultKeyClaim) || claimed.has(claim)) continue
      const [region = '', domainId = '', holder, ...more] = claim.slice(defaultKeyClaim.length).split('/')
      if (holder === instance && more.length === 0) claimed.set(claim, entryOf({ region, domainId }, keyId, service))
    }
  }

  const find = async (scope: KeyScope, matches: (entry: Entry) => boolean): Promise<readonly Entry[]> => {
    const among = async () =>
      [...(await configuredOf(scope)), ...[...claimed.values()].filter(entry => inScope(entry, scope))].filter(matches)
    const known = await among()
    if (known.length > 0) return known
    await readRegister()
    return among()
  }
  const described = ({ origin, region, domainId, keyId, arn, alias }: Entry, key: ManagedKey): KeyDescription => {
    const { state, version, created, deletion } = key
    const aliases = alias === undefined ? [] : [alias]
    return { keyId, arn, state, origin, region, domainId, version, created, deletion, aliases }
  }
  const describe = async (entry: Entry, call?: CallOptions): Promise<KeyDescription> =>
    described(entry, await manager.describe(entry.keyId, call))

  /** The keys that have the name of a tenant's default key, where the key manager finds keys by name. */
  const named = async (scope: KeyScope, call?: CallOptions): Promise<readonly ManagedKey[]> => {
    const found = (await manager.find?.(defaultKeyName(scope), call)) ?? []
    return found
      .filter(({ state }) => state !== 'pending-deletion')
      .sort((a, b) => compare(utf8(a.keyId), utf8(b.keyId)))
  }
  const make = async (scope: KeyScope): Promise<KeyDescription> => {
    const [standing] = await named(scope)
    if (standing === undefined && (manager.create === undefined || !create)) return noDefault(scope, instance)
    const key = standing ?? (await manager.create?.(defaultKeyName(scope))) ?? noDefault(scope, instance)
    const claim = `${defaultKeyClaim}${scope.region}/${scope.domainId}/${instance}`
    const stands = (await register?.claim(claim, key.keyId)) ?? key.keyId
    const entry = entryOf(scope, stands, service)
    if (register !== undefined) claimed.set(claim, entry)
    if (stands === key.keyId) return described(entry, key)
    // Another process was faster. Only what was made here goes: a key that was found may be in use.
    if (standing === undefined) await manager.scheduleDeletion?.(key.keyId).catch(() => undefined)
    return describe(entry)
  }
  const coming = new Map<string, Promise<KeyDescription>>()
  const makeOnce = (scope: KeyScope): Promise<KeyDescription> => {
    const key = `${scope.region}/${scope.domainId}`
    const made = coming.get(key) ?? make(scope).finally(() => coming.delete(key))
    coming.set(key, made)
    return made
  }

  return {
    recordsDefaults: true,
    describeKey: async ({ keyId, scope }: KeyQuery, call) => {
      const matches = (entry: Entry): boolean =>
        entry.keyId === keyId ||
        entry.arn === keyId ||
        (scope !== undefined &&
          (clientKeyId(entry.keyId) === keyId || (entry.alias !== undefined && `alias/${entry.alias}` === keyId)))
      const [, , , region = '', domainId = ''] = keyId.split(':')
      const [entry] = await find(scope ?? { region, domainId }, matches)
      return entry === undefined ? notFound(keyId) : describe(entry, call)
    },
    defaultKey: async (scope, call) => {
      const [entry] = await find(scope, ({ isDefault }) => isDefault)
      return entry === undefined ? orAborted(makeOnce(scope), call?.signal) : describe(entry, call)
    },
    acceptedKeys: async (scope: AcceptScope, call): Promise<readonly AcceptedKey[]> => {
      const { keyId, origin } = scope
      const matches = (entry: Entry): boolean =>
        (keyId === undefined || entry.keyId === keyId) && (origin === undefined || entry.origin === origin)
      const entries =
        register === undefined
          ? [
              ...(await configuredOf(scope)).filter(matches),
              ...(await named(scope, call)).map(key => entryOf(scope, key.keyId, service)).filter(matches),
            ]
          : await find(scope, matches)
      return entries.map(entry => ({ provider: name, keyId: entry.keyId, arn: entry.arn }))
    },
  }
}
