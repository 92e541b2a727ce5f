/**
 * Master keys as files of a key store. Every change is a new file, `000007.json` after `000006.json`, that only one process can create:
 * a compare-and-swap without locks. Older ones stay, emptied where the key was destroyed or the root key changed. The keys used last stay in memory. At every use they are
 * compared with the directory, so that what another process changed counts at once.
 */
import { join } from 'node:path'
import { copy } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import { DataKey } from '../data-key.ts'
import type { KeyScope } from '../provider.ts'
import { eraseFile, isThere, namesIn, onDisk, removeDirectory, syncUp } from './files.ts'
import {
  encodeRecord,
  isScopePart,
  isUuid,
  keyFile,
  keyFolder,
  type KeyName,
  type KeyRecord,
  localArn,
  parseRecord,
} from './key.ts'
import type { Keyring } from './keyring.ts'
import type { KeyringKeys } from './keyring-keys.ts'
import { note } from './register.ts'
import { corrupt } from './sealed-json.ts'

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
  /** What its versions are wrapped with. */
  readonly keys: KeyringKeys
}

interface Loaded {
  readonly stored: StoredKey
  /** Versions in use, unwrapped. */
  readonly keys: Map<number, DataKey>
}

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
      const path = keyFile(name, revision)
      if (revision < seen) return corrupt(path)
      const loaded = this.#loaded.get(arn)
      if (loaded?.stored.revision === revision) return this.#keep(loaded)
      try {
        const { body, keys } = (await this.#keyring.read(path)) ?? corrupt(path)
        return this.#keep({ stored: { name, arn, revision, record: parseRecord(body), keys }, keys: new Map() })
      } catch (error) {
        // It may have been erased after it was listed: there is a newer one then.
        if ((await this.#newest(name)) === revision) throw error
      }
    }
  }

  /**
   * Makes a record the first revision of a key, or the one after `before`; `false` where another process was faster. `keys` are those that its
   * versions are wrapped with: where others count by now, they are wrapped with those.
   */
  async replace(name: KeyName, before: StoredKey | undefined, record: KeyRecord, keys: KeyringKeys): Promise<boolean> {
    const path = keyFile(name, (before?.revision ?? 0) + 1)
    let now = { record, keys }
    for (;;) {
      const created = await this.#keyring.create(path, encodeRecord(now.record), now.keys)
      if (created !== 'changed') return created
      const newer = this.#keyring.keys
      const versions = await newer.rewrap(localArn(name), record.versions, keys)
      now = { record: { ...record, versions }, keys: newer }
    }
  }

  /** A version of a key, 32 bytes; the caller wipes it. `NotAuthentic` where there is no such version. */
  async version(stored: StoredKey, version: number): Promise<Uint8Array> {
    const wrapped = stored.record.versions[version - 1]
    if (wrapped === undefined) throw new SseError('NotAuthentic')
    const known = this.#keysOf(stored)?.get(version)
    if (known !== undefined) return copy(known.bytes)
    const key = await stored.keys.unwrap(stored.arn, version, wrapped)
    const keys = this.#keysOf(stored)
    if (keys?.has(version) === false) keys.set(version, new DataKey(copy(key)))
    return key
  }

  /**
   * Makes sure that a revision outlives a power cut, and that the key is noted. Whoever created it does so too, but others see it a moment
   * earlier: so before the first wrap under it.
   */
  async settle(stored: StoredKey): Promise<void> {
    if (this.#durable.has(stored)) return
    await syncUp(this.#pathOf(keyFolder(stored.name)), this.#keyring.directory)
    await note(this.#keyring, stored.name)
    this.#durable.add(stored)
  }

  /** Erases the revisions before this one. Their names stay, so that a slow process cannot take them. */
  async eraseBefore({ name, revision }: StoredKey): Promise<void> {
    const directory = this.#pathOf(keyFolder(name))
    await each(await namesIn(directory, this.#keyring.directory), async file => {
      const older = revisionOf(file)
      if (older > 0 && older < revision) await eraseFile(join(directory, file), this.#keyring.directory)
    })
  }

  /**
   * Gives a key that is wrapped with the keys of the root key before a revision that is not, and empties all older ones; `false` where it has
   * such a revision already, or is gone.
   */
  async reseal(name: KeyName): Promise<boolean> {
    let isResealed = false
    for (;;) {
      const stored = await this.load(name)
      if (stored === undefined) return isResealed
      if (stored.keys === this.#keyring.keys) {
        await this.eraseBefore(stored)
        return isResealed
      }
      if (await this.replace(name, stored, stored.record, stored.keys)) isResealed = true
    }
  }

  /** Removes a key whose id was never returned. */
  async discard(name: KeyName): Promise<void> {
    await removeDirectory(this.#pathOf(keyFolder(name)), this.#keyring.directory)
  }

  /** The names of all keys of a region and domain, of all regions or domains where left out; in no order. */
  async names(region: string | undefined, domainId: string | undefined): Promise<readonly KeyName[]> {
    const names: KeyName[] = []
    for (const scope of await this.scopes(region, domainId)) {
      for (const uuid of await this.#children(isUuid, scope.region, scope.domainId)) names.push({ ...scope, uuid })
    }
    return names
  }

  /** The regions and domains that have keys or aliases, as {@link KeyFiles.names}. */
  async scopes(region?: string, domainId?: string): Promise<readonly KeyScope[]> {
    const scopes: KeyScope[] = []
    for (const inRegion of region === undefined ? await this.#children(isScopePart) : [region]) {
      for (const inDomain of domainId === undefined ? await this.#children(isScopePart, inRegion) : [domainId]) {
        scopes.push({ region: inRegion, domainId: inDomain })
      }
    }
    return scopes
  }

  /** Wipes the keys in memory. */
  close(): void {
    this.#loaded.clear()
  }

  #pathOf(...path: readonly string[]): string {
    return join(this.#keyring.directory, ...path)
  }

  async #children(wanted: (name: string) => boolean, ...path: readonly string[]): Promise<readonly string[]> {
    return (await namesIn(this.#pathOf('keys', ...path), this.#keyring.directory)).filter(wanted)
  }

  async #newest(name: KeyName): Promise<number> {
    const names = await namesIn(this.#pathOf(keyFolder(name)), this.#keyring.directory)
    return Math.max(0, ...names.map(revisionOf))
  }

  /** Revisions follow one upon the other, and their files stay: so the newest is the one that has no next. */
  #isNewest({ name, revision }: StoredKey): Promise<boolean> {
    const there = (number: number): boolean => isThere(this.#pathOf(keyFile(name, number)))
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

/** Does the same with each, one after the other, also where one fails: the first error is thrown at the end. */
export const each = async <T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> => {
  const errors: unknown[] = []
  for (const item of items) await work(item).catch((error: unknown) => errors.push(error))
  if (errors.length > 0) throw errors[0]
}

const wipeKeys = ({ keys }: Loaded): void => {
  for (const key of keys.values()) key.dispose()
}
