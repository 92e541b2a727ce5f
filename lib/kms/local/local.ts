/**
 * The embedded KMS: master keys of tenants in regions, in a directory that a root key unlocks (`keyring.ts` says how it lies there).
 * Several processes may use one directory at once. Who may use which key is not decided here.
 */
import { assertOptions, assertText } from '../../arguments.ts'
import { compare, type MaybePromise, utf8, wipe } from '../../bytes.ts'
import type { Engine } from '../../cipher/engine.ts'
import { defaultEngine } from '../../cipher/default.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { DataKey } from '../data-key.ts'
import { addAlias, aliasesOf, findAlias, removeAlias } from './aliases.ts'
import { each, KeyFiles, type StoredKey } from './keys.ts'
import {
  assertEnabled,
  cancelled,
  checkAlias,
  checkScope,
  defaultAlias,
  findArn,
  type KeyName,
  type KeyRecord,
  localArn,
  notFound,
  parseArn,
  parseQuery,
  rotated,
  scheduled,
  switched,
  taken,
  uuidOf,
} from './key.ts'
import { Keyring } from './keyring.ts'
import type { KeyringKeys } from './keyring-keys.ts'
import { LivingKeys } from './lifecycle.ts'
import { assertComplete, isNoted, lost, note } from './register.ts'
import type {
  AcceptedKey,
  AcceptScope,
  GeneratedKey,
  KeyDescription,
  KeyQuery,
  KeyScope,
  KmsProvider,
  RewrapRequest,
  UnwrapRequest,
  WrappedKey,
  WrapTarget,
} from '../provider.ts'
import { checkedClock, emitWarning, type KeyFilter, type LocalKmsOptions, type NewKey } from './options.ts'
import { generateKey, localVersion, unwrapLocal, wrapLocal } from '../wrap.ts'

const changing =
  'A change of the root key was begun and has not ended. The key store works. Unless the change is under way right now, run sse-kms ' +
  'root-key change again: it goes on where it was.'

const inspect = Symbol.for('nodejs.util.inspect.custom')

/**
 * The provider `local`. Calls reject as {@link KmsProvider} says, and besides with `KeyringCorrupt` where a file of the key store was
 * damaged or forged, `KeyringLocked` where the root key was changed and `root` does not give the new one, `KmsUnavailable` where the disk fails, `InvalidKeyId` for a malformed key id, `RangeError` for a region or domain
 * that is not 1 to 64 of `[A-Za-z0-9_-]`, `TypeError` after {@link LocalKms.close}.
 *
 * {@includeCode ../../../test/examples/reference.test.ts#key,keys}
 */
export class LocalKms implements KmsProvider {
  /** What records hold. */
  readonly name = 'local'
  /** Every wrap is bound to its context. */
  readonly bindsContext = true
  /** Id of the key store, 32 hex digits, made with it. Not secret. */
  readonly storeId: string
  readonly #engine: Engine
  readonly #clock: () => number
  readonly #directory: string
  #opened: { readonly keyring: Keyring; readonly files: KeyFiles; readonly living: LivingKeys } | undefined

  private constructor(keyring: Keyring, engine: Engine, clock: () => number, files: KeyFiles, living: LivingKeys) {
    this.#directory = keyring.directory
    this.storeId = keyring.id
    this.#engine = engine
    this.#clock = clock
    this.#opened = { keyring, files, living }
  }

  /**
   * Opens the key store in a directory, or makes one. `KeyringLocked` where the root key is another one or cannot be had,
   * `KeyringCorrupt` where the directory is damaged or has lost a key, `FileFailed` where there is no key store and `create` is false.
   *
   * {@includeCode ../../../test/examples/pipeline.test.ts#sse}
   */
  static async open(directory: string, options: LocalKmsOptions): Promise<LocalKms> {
    assertText('LocalKms.open', directory, 'the path of a directory, and then options')
    assertOptions('LocalKms.open', options, 'an object with root: where the root key comes from')
    const {
      root,
      engine = await defaultEngine(),
      clock = Date.now,
      create = true,
      heldKeys = 1000,
      onWarning: warn = emitWarning,
    } = options
    if (!Number.isSafeInteger(heldKeys) || heldKeys < 0) throw new RangeError('heldKeys is a number of keys, 0 or more')
    const now = checkedClock(clock)
    const keyring = await Keyring.open(directory, { root, engine, create, now: now(), warn })
    if (keyring.previous !== undefined) warn(changing)
    try {
      await assertComplete(keyring)
    } catch (error) {
      keyring.close()
      throw error
    }
    const files = new KeyFiles(keyring, heldKeys)
    return new LocalKms(keyring, engine, now, files, new LivingKeys(keyring, files, now, warn))
  }

  /** A new data key under an enabled key. The caller disposes it. */
  generateDataKey(target: WrapTarget): Promise<GeneratedKey> {
    return generateKey(key => this.wrapDataKey(key, target), this.#engine)
  }

  /**
   * Wraps a data key under the newest version of an enabled key, named by its full ARN.
   * @param target The key that wraps, and the context that is bound.
   */
  async wrapDataKey(key: DataKey, { keyId, context }: WrapTarget): Promise<WrappedKey> {
    const stored = await this.#usable(keyId)
    await this.#files.settle(stored)
    const version = stored.record.versions.length
    const master = await this.#files.version(stored, version)
    try {
      const blob = await wrapLocal(this.#engine, master, version, key, context)
      return { provider: this.name, keyId, wrapAlg: 2, blob }
    } finally {
      wipe(master)
    }
  }

  /**
   * The data key of a blob of wrapAlg 2, under any version of an enabled key. The caller disposes it.
   * @param request The wrapped key and its context.
   */
  async unwrapDataKey({ wrapped, context }: UnwrapRequest): Promise<DataKey> {
    const { provider, keyId, wrapAlg, blob } = wrapped
    if (provider !== this.name || wrapAlg !== 2) throw new SseError('NotAuthentic')
    const stored = await this.#usable(keyId)
    const master = await this.#files.version(stored, localVersion(blob))
    try {
      return await unwrapLocal(this.#engine, master, blob, context)
    } finally {
      wipe(master)
    }
  }

  /**
   * Unwraps a data key and wraps it anew: under another key, the newest version, or another context.
   * @param request The wrapped key with its context, and the new target.
   */
  async rewrapDataKey({ from, to }: RewrapRequest): Promise<WrappedKey> {
    const key = await this.unwrapDataKey(from)
    try {
      return await this.wrapDataKey(key, to)
    } finally {
      key.dispose()
    }
  }

  /** What is known of a key, pending deletion or not. Of a destroyed one nothing is: `KeyNotFound`. */
  async describeKey(query: KeyQuery): Promise<KeyDescription> {
    return this.#describe(await this.#find(query))
  }

  /** The default key of a tenant in a region, made if there is none. Two that ask at once, in two processes, get the same. */
  async defaultKey(scope: KeyScope): Promise<KeyDescription> {
    checkScope(scope)
    const name = await this.#defaultName(scope)
    const isKnown = isNoted(this.#keyring, name)
    const found = await this.#living.load(name)
    if (found !== undefined) return this.#describe(found)
    if (isKnown) return lost([name])
    await this.#make(name, 'service')
    await note(this.#keyring, name)
    return this.describeKey({ keyId: localArn(name) })
  }

  /**
   * The keys that a tenant's objects in a region may lie under: the key store itself is the register. The key that is named takes no trip to
   * its files, unless the origin matters too.
   * @param scope The tenant and region, and the key if one is meant.
   */
  async acceptedKeys({ region, domainId, keyId, origin }: AcceptScope): Promise<readonly AcceptedKey[]> {
    if (keyId === undefined) {
      checkScope({ region, domainId })
      const keys: AcceptedKey[] = []
      for (const name of await this.#files.names(region, domainId)) {
        if (await this.#exists(name, origin)) keys.push({ provider: this.name, keyId: localArn(name) })
      }
      return keys
    }
    const name = findArn(keyId)
    if (name?.region !== region || name.domainId !== domainId) return []
    if (origin !== undefined && !(await this.#exists(name, origin))) return []
    return [{ provider: this.name, keyId }]
  }

  /** Makes a key for a customer. `InvalidArgument` where the alias is taken; no key is made then. */
  async createKey(key: NewKey): Promise<KeyDescription> {
    assertOptions('createKey', key, 'an object with region and domainId')
    const { region, domainId, alias } = key
    checkScope({ region, domainId })
    const wanted = alias === undefined ? undefined : checkAlias(alias)
    const name = { region, domainId, uuid: uuidOf(randomBytes(16), 4) }
    if (!(await this.#make(name, 'customer'))) throw new SseError('InternalError')
    if (wanted !== undefined && !(await addAlias(this.#keyring, name, wanted))) {
      await this.#files.discard(name)
      return taken(wanted)
    }
    await note(this.#keyring, name)
    return this.describeKey({ keyId: localArn(name) })
  }

  /**
   * The keys of a region and domain, of all where left out; sorted by ARN.
   * @param filter Region and domain.
   */
  async listKeys({ region, domainId }: KeyFilter = {}): Promise<readonly KeyDescription[]> {
    checkScope({ region: region ?? 'any', domainId: domainId ?? 'any' })
    const keys: KeyDescription[] = []
    for (const name of await this.#files.names(region, domainId)) {
      const stored = await this.#living.load(name)
      if (stored !== undefined) keys.push(await this.#describe(stored))
    }
    return keys.sort((a, b) => compare(utf8(a.keyId), utf8(b.keyId)))
  }

  /** Stops all use of a key until it is enabled; nothing where it is disabled. */
  disableKey(query: KeyQuery): Promise<KeyDescription> {
    return this.#change(query, (record, { arn }) => switched(record, arn, 'disabled'))
  }

  /** Lets a disabled key be used again; nothing where it is enabled. */
  enableKey(query: KeyQuery): Promise<KeyDescription> {
    return this.#change(query, (record, { arn }) => switched(record, arn, 'enabled'))
  }

  /** Gives an enabled key a new version, which wraps from then on. What older versions wrapped still unwraps. */
  rotateKey(query: KeyQuery): Promise<KeyDescription> {
    return this.#change(query, async (record, { arn, keys }) => {
      assertEnabled(record, arn)
      return rotated(record, await this.#newVersion(arn, record.versions.length + 1, keys))
    })
  }

  /**
   * Stops all use of a key, and destroys it after 7 to 30 days (30 where left out; `RangeError` otherwise). What lies under it is lost
   * then. `KeyAccessDenied` for a default key, which can only be disabled.
   * Because a clock may be wrong, the key outlives that time by a day: it is destroyed when a day has passed since it was first asked for,
   * listed or seen by {@link LocalKms.destroyExpired} after its time, unless an earlier time was seen meanwhile. `onWarning` is told of both.
   * Until then {@link LocalKms.cancelDeletion} keeps it, and afterwards it answers `KeyNotFound`.
   * @param options After how many days.
   */
  async scheduleDeletion(
    query: KeyQuery,
    { days = 30 }: { readonly days?: number | undefined } = {},
  ): Promise<KeyDescription> {
    if (!Number.isInteger(days) || days < 7 || days > 30) throw new RangeError('a deletion waits for 7 to 30 days')
    return this.#change(query, (record, { arn }) => scheduled(record, arn, this.#clock(), days))
  }

  /** Keeps a key that is pending deletion; it is disabled then, as AWS does it. `InvalidRequest` where none is pending. */
  cancelDeletion(query: KeyQuery): Promise<KeyDescription> {
    return this.#change(query, (record, { arn }) => cancelled(record, arn))
  }

  /**
   * Takes the keys from the disk whose time has come, as {@link LocalKms.scheduleDeletion} says. A server does this when it starts, and
   * every hour. Rejects with the first error, once all keys were looked at.
   */
  async destroyExpired(): Promise<void> {
    await each(await this.#files.names(undefined, undefined), name => this.#living.load(name))
  }

  /** Gives a key one more alias, with or without `alias/`. `InvalidArgument` where it is taken; `RangeError` where it is malformed. */
  async createAlias(query: KeyQuery, alias: string): Promise<KeyDescription> {
    const wanted = checkAlias(alias)
    const stored = await this.#find(query)
    if (!(await addAlias(this.#keyring, stored.name, wanted))) return taken(wanted)
    return this.#describe(stored)
  }

  /** Takes an alias away; its key stays. `KeyNotFound` where there is no such alias. */
  async deleteAlias(scope: KeyScope, alias: string): Promise<void> {
    checkScope(scope)
    const unwanted = checkAlias(alias)
    if (!(await removeAlias(this.#keyring, scope, unwanted))) return notFound(`alias/${unwanted}`)
  }

  /** Wipes all keys in memory; every later call fails. What is under way may fail too. May be called twice. */
  close(): void {
    this.#opened?.files.close()
    this.#opened?.keyring.close()
    this.#opened = undefined
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  // What `util.inspect` and `console.log` show.
  static {
    const value = function (this: LocalKms): string {
      return `[LocalKms ${this.#directory}]`
    }
    Object.defineProperty(LocalKms.prototype, inspect, { value })
  }

  get #keyring(): Keyring {
    return (this.#opened ?? closed()).keyring
  }

  get #files(): KeyFiles {
    return (this.#opened ?? closed()).files
  }

  get #living(): LivingKeys {
    return (this.#opened ?? closed()).living
  }

  async #defaultName({ region, domainId }: KeyScope): Promise<KeyName> {
    const fingerprint = await this.#keyring.fingerprint(`default ${region} ${domainId}`)
    return { region, domainId, uuid: uuidOf(fingerprint.subarray(0, 16), 8) }
  }

  /** `false` where the key exists. */
  async #make(name: KeyName, origin: KeyRecord['origin']): Promise<boolean> {
    const { keys } = this.#keyring
    const versions = [await this.#newVersion(localArn(name), 1, keys)]
    const record: KeyRecord = { state: 'enabled', origin, created: this.#clock(), deletion: undefined, versions }
    return this.#files.replace(name, undefined, record, keys)
  }

  async #newVersion(arn: string, version: number, keys: KeyringKeys): Promise<Uint8Array> {
    const key = randomBytes(keySize)
    try {
      return await keys.wrap(arn, version, key)
    } finally {
      wipe(key)
    }
  }

  async #exists(name: KeyName, origin: AcceptScope['origin']): Promise<boolean> {
    const stored = await this.#living.load(name)
    return stored !== undefined && (origin === undefined || stored.record.origin === origin)
  }

  async #find(query: KeyQuery): Promise<StoredKey> {
    const reference = parseQuery(query)
    if ('uuid' in reference) return (await this.#living.load(reference)) ?? notFound(localArn(reference))
    const { alias } = reference
    const name = await (alias === defaultAlias
      ? this.#defaultName(reference)
      : findAlias(this.#keyring, reference, alias))
    return (name && (await this.#living.load(name))) ?? notFound(query.keyId)
  }

  async #usable(keyId: string): Promise<StoredKey> {
    const name = parseArn(keyId)
    const stored = (await this.#living.load(name)) ?? notFound(keyId)
    assertEnabled(stored.record, stored.arn)
    return stored
  }

  /** Replaces the record of a key by what `change` makes of it, over again where another process was faster. */
  async #change(
    query: KeyQuery,
    change: (record: KeyRecord, stored: StoredKey) => MaybePromise<KeyRecord>,
  ): Promise<KeyDescription> {
    for (;;) {
      const stored = await this.#find(query)
      const record = await change(stored.record, stored)
      if (record === stored.record || (await this.#files.replace(stored.name, stored, record, stored.keys))) {
        return this.#describe({ ...stored, record })
      }
    }
  }

  async #describe({ name, arn, record }: StoredKey): Promise<KeyDescription> {
    const { region, domainId } = name
    const { state, origin, created, deletion, versions } = record
    const own = origin === 'service' ? [defaultAlias] : []
    const aliases = [...own, ...(await aliasesOf(this.#keyring, name))]
    return { keyId: arn, state, origin, region, domainId, version: versions.length, created, deletion, aliases }
  }
}

const closed = (): never => {
  throw new TypeError('the key store was closed: open it again')
}
