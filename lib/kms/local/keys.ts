/**
 * Master keys as files of a key store. Every change is a new file, `000007.json` after `000006.json`, that only one process can create:
 * a compare-and-swap without locks. Older ones stay. The keys used last stay in memory. At every use they are
 * compared with the directory, so that what another process changed counts at once.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { copy, hex } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import { DataKey } from '../data-key.ts'
import type { KeyScope } from '../provider.ts'
import { eraseFile, isThere, namesIn, onDisk, removeFile, syncUp } from './files.ts'
import { localArn, encodeRecord, isScopePart, isUuid, type KeyName, type KeyRecord, parseRecord } from './key.ts'
import type { Keyring } from './keyring.ts'
import { corrupt, fieldsOf } from './sealed-json.ts'

/** A master key as it was read. */
export interface StoredKey {
  /** Where it lies. */
  readonly name: KeyName
  /** Its full name. */
  readonly arn: string
  /** The number of its newest file. */
  readonly revision: number
  /** What that file says. */
  readonly record: KeyRecord
}

interface Loaded {
  readonly stored: StoredKey
  /** Versions in use, unwrapped. */
  readonly keys: Map<number, DataKey>
}

const directoryOf = ({ region, domainId, uuid }: KeyName): string => `keys/${region}/${domainId}/${uuid}`
const fileOf = (name: KeyName, revision: number): string =>
  `${directoryOf(name)}/${String(revision).padStart(6, '0')}.json`
const revisionOf = (file: string): number => Number(/^(\d{6,})\.json$/.exec(file)?.[1] ?? 0)

/** The master keys of a key store. */
export class KeyFiles {
  readonly #keyring: Keyring
  /** By ARN. */
  readonly #loaded: Lru<string, Loaded>
  /** Revisions of which this process has made sure that they outlive a power cut. */
  readonly #durable = new WeakSet<StoredKey>()

  /** Over a key store; keeps at most `limit` keys in memory. */
  constructor(keyring: Keyring, limit: number) {
    this.#keyring = keyring
    this.#loaded = new Lru({ most: limit, onEvict: wipeKeys })
  }

  /** The newest revision of a key; none where there is no such key. `KeyringCorrupt` where it is not authentic. */
  async load(name: KeyName): Promise<StoredKey | undefined> {
    const arn = localArn(name)
    const known = this.#loaded.get(arn)
    if (known !== undefined && (await this.#isNewest(known.stored))) return this.#keep(known)
    for (;;) {
      const seen = this.#loaded.get(arn)?.stored.revision ?? 0
      const revision = await this.#newest(name)
      if (revision === 0) return undefined
      const path = fileOf(name, revision)
      if (revision < seen) return corrupt(path)
      const loaded = this.#loaded.get(arn)
      if (loaded?.stored.revision === revision) return this.#keep(loaded)
      try {
        const body = (await this.#keyring.read(path)) ?? corrupt(path)
        return this.#keep({ stored: { name, arn, revision, record: parseRecord(body) }, keys: new Map() })
      } catch (error) {
        // It may have been erased after it was listed: there is a newer one then.
        if ((await this.#newest(name)) === revision) throw error
      }
    }
  }

  /** Makes a record the first revision of a key, or the one after `before`; `false` where another process was faster. */
  replace(name: KeyName, before: StoredKey | undefined, record: KeyRecord): Promise<boolean> {
    return this.#keyring.create(fileOf(name, (before?.revision ?? 0) + 1), encodeRecord(record))
  }

  /** A version of a key, 32 bytes; the caller wipes it. `NotAuthentic` where there is no such version. */
  async version(stored: StoredKey, version: number): Promise<Uint8Array> {
    const wrapped = stored.record.versions[version - 1]
    if (wrapped === undefined) throw new SseError('NotAuthentic')
    const known = this.#keysOf(stored)?.get(version)
    if (known !== undefined) return copy(known.bytes)
    const key = await this.#keyring.unwrap(stored.arn, version, wrapped)
    const keys = this.#keysOf(stored)
    if (keys?.has(version) === false) keys.set(version, new DataKey(copy(key)))
    return key
  }

  /**
   * Makes sure that a revision outlives a power cut. Whoever created it does so too, but others see it a moment earlier: so before the
   * first wrap under it.
   */
  async settle(stored: StoredKey): Promise<void> {
    if (this.#durable.has(stored)) return
    await syncUp(join(this.#keyring.directory, directoryOf(stored.name)), this.#keyring.directory)
    this.#durable.add(stored)
  }

  /** Erases the revisions before this one. Their names stay, so that a slow process cannot take them. */
  async eraseBefore({ name, revision }: StoredKey): Promise<void> {
    const directory = join(this.#keyring.directory, directoryOf(name))
    for (const file of await namesIn(directory)) {
      const older = revisionOf(file)
      if (older > 0 && older < revision) await eraseFile(join(directory, file))
    }
  }

  /** Removes a key whose id was never returned. */
  async discard(name: KeyName): Promise<void> {
    await onDisk(() => rm(join(this.#keyring.directory, directoryOf(name)), { recursive: true }))
  }

  /** The names of all keys of a region and domain, of all regions or domains where left out; in no order. */
  async names(region: string | undefined, domainId: string | undefined): Promise<readonly KeyName[]> {
    const names: KeyName[] = []
    for (const inRegion of region === undefined ? await this.#children(isScopePart) : [region]) {
      for (const inDomain of domainId === undefined ? await this.#children(isScopePart, inRegion) : [domainId]) {
        for (const uuid of await this.#children(isUuid, inRegion, inDomain)) {
          names.push({ region: inRegion, domainId: inDomain, uuid })
        }
      }
    }
    return names
  }

  /** Wipes the keys in memory. */
  close(): void {
    this.#loaded.clear()
  }

  async #children(wanted: (name: string) => boolean, ...path: readonly string[]): Promise<readonly string[]> {
    return (await namesIn(join(this.#keyring.directory, 'keys', ...path))).filter(wanted)
  }

  async #newest(name: KeyName): Promise<number> {
    return Math.max(0, ...(await namesIn(join(this.#keyring.directory, directoryOf(name)))).map(revisionOf))
  }

  /** Revisions follow one upon the other, and their files stay: so the newest is the one that has no next. */
  #isNewest({ name, revision }: StoredKey): Promise<boolean> {
    const there = (number: number): boolean => isThere(join(this.#keyring.directory, fileOf(name, number)))
    return onDisk(async () => there(revision) && !there(revision + 1))
  }

  #keysOf(stored: StoredKey): Map<number, DataKey> | undefined {
    const loaded = this.#loaded.get(stored.arn)
    return loaded?.stored === stored ? loaded.keys : undefined
  }

  #keep(loaded: Loaded): StoredKey {
    this.#loaded.set(loaded.stored.arn, loaded)
    return loaded.stored
  }
}

const wipeKeys = ({ keys }: Loaded): void => {
  for (const key of keys.values()) key.dispose()
}

interface Alias {
  readonly alias: string
  readonly uuid: string
}

const format = 'sse-kms-alias/1'

const aliasesIn = ({ region, domainId }: KeyScope): string => `keys/${region}/${domainId}/aliases`

const aliasFile = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<string> =>
  `${aliasesIn(scope)}/${hex(await keyring.fingerprint(`alias ${alias}`)).slice(0, 32)}.json`

const read = async (keyring: Keyring, path: string): Promise<Alias | undefined> => {
  const body = await keyring.read(path)
  if (body === undefined) return undefined
  const fields = fieldsOf(body, format)
  return { alias: fields.text('alias'), uuid: fields.text('uuid') }
}

/** The key of an alias; none where there is no such alias. */
export const findAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<KeyName | undefined> => {
  const found = await read(keyring, await aliasFile(keyring, scope, alias))
  return found === undefined ? undefined : { region: scope.region, domainId: scope.domainId, uuid: found.uuid }
}

/** Names a key, durably; `false` where the alias is taken in the key's scope. */
export const addAlias = async (keyring: Keyring, name: KeyName, alias: string): Promise<boolean> =>
  keyring.create(await aliasFile(keyring, name, alias), JSON.stringify({ format, alias, uuid: name.uuid }))

/** Takes an alias away, durably; `false` where there is none. */
export const removeAlias = async (keyring: Keyring, scope: KeyScope, alias: string): Promise<boolean> =>
  removeFile(join(keyring.directory, await aliasFile(keyring, scope, alias)))

/** The aliases of a key, sorted. */
export const aliasesOf = async (keyring: Keyring, name: KeyName): Promise<readonly string[]> => {
  const aliases: string[] = []
  for (const file of await namesIn(join(keyring.directory, aliasesIn(name)))) {
    const found = await read(keyring, `${aliasesIn(name)}/${file}`)
    if (found?.uuid === name.uuid) aliases.push(found.alias)
  }
  return aliases.sort()
}
