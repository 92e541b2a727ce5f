/**
 * The embedded key store as a place: a directory that a root key unlocks, authenticated files in it, and the wrap of master keys at
 * rest. What the files say is not this file's business.
 *
 *     keyring.json                            id, and how a passphrase becomes the root key
 *     keys/REGION/DOMAIN/UUID/000001.json     revisions of a master key; the highest one counts
 *     keys/REGION/DOMAIN/aliases/HASH.json    an alias
 *     made/REGION.DOMAIN.UUID.json            that there is such a key
 *     temp/                                   files that are being written
 *
 *     K_mac = Expand(root key, "mac ID")      authenticates every file, with its path
 *     K_kek = Expand(root key, "kek ID")      K_version = Expand(K_kek, "ARN VERSION") wraps one version of one key (RFC 3394)
 *
 * With the directory but without the root key nobody can read a key, or make, change or exchange a file. Deleting the newest
 * revision, which brings the one before it back, is not detected, except by a process that saw the newer one.
 */
import { dirname, join, resolve } from 'node:path'
import { copy, fromHex, hex, type MaybePromise, utf8, wipe } from '../../bytes.ts'
import { deriveKeyring } from '../../cipher/derive.ts'
import type { Engine } from '../../cipher/engine.ts'
import { randomBytes } from '../../cipher/random.ts'
import { SseError } from '../../errors.ts'
import { DataKey } from '../data-key.ts'
import { createFile, makeDirectory, namesIn, readIfThere, sweepTemps } from './files.ts'
import {
  isCost,
  newScrypt,
  type RootKeySource,
  rootKey,
  type ScryptParameters,
  type SettledSource,
  settleSource,
} from './root-key.ts'
import { bodyOf, corrupt, fieldsOf, isSealed, sealJson } from './sealed-json.ts'

/** How a key store is opened. */
export interface KeyringOptions {
  /** Where the root key comes from. */
  readonly root: RootKeySource
  /** What computes. */
  readonly engine: Engine
  /** Whether to make a key store where there is none. */
  readonly create: boolean
  /** In ms since 1970: older leftovers of killed processes are deleted. */
  readonly now: number
  /** Told what the operator should know. */
  readonly warn: (message: string) => void
}

interface Header {
  readonly id: string
  readonly scrypt: ScryptParameters | undefined
}

const format = 'sse-kms-keyring/1'
const headerFile = 'keyring.json'
const idBytes = 16

const encodeHeader = ({ id, scrypt }: Header): string =>
  JSON.stringify({ format, id, ...(scrypt === undefined ? {} : { ...scrypt, salt: hex(scrypt.salt) }) })

const parseHeader = (body: string): Header => {
  const fields = fieldsOf(body, format)
  const id = fields.text('id')
  if (fromHex(id)?.length !== idBytes) return corrupt(headerFile)
  const N = fields.optionalNumber('N')
  if (N === undefined) return { id, scrypt: undefined }
  const cost = { N, r: fields.number('r'), p: fields.number('p') }
  const salt = fromHex(fields.text('salt'))
  return salt !== undefined && isCost(cost) ? { id, scrypt: { ...cost, salt } } : corrupt(headerFile)
}

/** A directory and the keys derived from its root key, until {@link Keyring.close}. Paths are relative to the directory. */
export class Keyring {
  /** Full path of the directory. */
  readonly directory: string
  /** Made with the key store, 32 hex digits; not secret. */
  readonly id: string
  readonly #engine: Engine
  readonly #mac: DataKey
  readonly #kek: DataKey

  private constructor(directory: string, engine: Engine, id: string, mac: DataKey, kek: DataKey) {
    this.directory = directory
    this.#engine = engine
    this.id = id
    this.#mac = mac
    this.#kek = kek
  }

  /**
   * Opens a key store, or makes a new one. `KeyringLocked` where the root key is another one or cannot be had, `KeyringCorrupt` where
   * the directory is damaged, `FileFailed` where there is no key store and none is to be made.
   */
  static async open(directory: string, options: KeyringOptions): Promise<Keyring> {
    const top = resolve(directory)
    const source = await settleSource(options.root)
    const path = join(top, headerFile)
    const isNew = (await readIfThere(path, top)) === undefined
    const made = isNew ? await Keyring.#make(top, source, options) : undefined
    await makeDirectories(top)
    await sweepTemps(tempsOf(top), options.now, top)
    return made ?? Keyring.#unlock(top, (await readIfThere(path, top)) ?? corrupt(headerFile), source, options)
  }

  static async #unlock(
    top: string,
    bytes: Uint8Array,
    source: SettledSource,
    { engine, warn }: KeyringOptions,
  ): Promise<Keyring> {
    const { id, scrypt } = parseHeader(bodyOf(bytes))
    const keyring = await Keyring.#derive(top, engine, id, await rootKey(source, { scrypt, isNew: false, warn }))
    if (await isSealed(engine, keyring.#mac.bytes, headerFile, bytes)) return keyring
    keyring.close()
    throw new SseError('KeyringLocked')
  }

  /** A new key store; nothing where another process was faster. */
  static async #make(top: string, source: SettledSource, options: KeyringOptions): Promise<Keyring | undefined> {
    if (!options.create) {
      const message = `There is no key store in ${top}. Name the right directory, or create a key store first.`
      throw new SseError('FileFailed', { message })
    }
    // Where another process is making it right now, keyring.json is there before the first key is.
    const hasKeys = (await namesIn(join(top, 'keys'), top)).length > 0
    if (hasKeys && (await readIfThere(join(top, headerFile), top)) === undefined) return corrupt(headerFile)
    const scrypt = newScrypt(source)
    const id = hex(randomBytes(idBytes))
    const root = await rootKey(source, { scrypt, isNew: true, warn: options.warn })
    const keyring = await Keyring.#derive(top, options.engine, id, root)
    await makeDirectories(top)
    if (await keyring.create(headerFile, encodeHeader({ id, scrypt }))) return keyring
    keyring.close()
    return undefined
  }

  /** Wipes the root key. */
  static async #derive(top: string, engine: Engine, id: string, root: Uint8Array): Promise<Keyring> {
    try {
      const mac = new DataKey(await deriveKeyring(engine, root, `mac ${id}`))
      return new Keyring(top, engine, id, mac, new DataKey(await deriveKeyring(engine, root, `kek ${id}`)))
    } finally {
      wipe(root)
    }
  }

  /** The body of a file; none where there is no such file. `KeyringCorrupt` unless it is what was written there with this root key. */
  async read(path: string): Promise<string | undefined> {
    const bytes = await readIfThere(join(this.directory, path), this.directory)
    if (bytes === undefined) return undefined
    const authentic = await this.#lend(this.#mac, key => isSealed(this.#engine, key, path, bytes))
    return authentic ? bodyOf(bytes) : corrupt(path)
  }

  /** Creates a file with this body, durably; `false` where there is one already. */
  async create(path: string, body: string): Promise<boolean> {
    const full = join(this.directory, path)
    const bytes = await this.#lend(this.#mac, key => sealJson(this.#engine, key, path, body))
    await makeDirectory(dirname(full))
    return createFile(full, bytes, tempsOf(this.directory), this.directory)
  }

  /** A version of a master key, wrapped for the disk: 40 bytes. */
  wrap(arn: string, version: number, key: Uint8Array): Promise<Uint8Array> {
    return this.#withKek(arn, version, kek => this.#engine.wrap(kek, key))
  }

  /** A version of a master key; the caller wipes it. `KeyringCorrupt` where it was wrapped as another one. */
  unwrap(arn: string, version: number, wrapped: Uint8Array): Promise<Uint8Array> {
    return this.#withKek(arn, version, async kek => {
      try {
        return await this.#engine.unwrap(kek, wrapped)
      } catch (cause) {
        throw new SseError('KeyringCorrupt', { cause })
      }
    })
  }

  /** SHA-256 of a name in this key store: for names of files and default keys, not for secrets. */
  async fingerprint(name: string): Promise<Uint8Array> {
    return this.#engine.sha256(utf8(`${this.id} ${name}`))
  }

  /** Wipes the keys; every later call fails. */
  close(): void {
    this.#mac.dispose()
    this.#kek.dispose()
  }

  async #withKek(
    arn: string,
    version: number,
    use: (kek: Uint8Array) => MaybePromise<Uint8Array>,
  ): Promise<Uint8Array> {
    const kek = await this.#lend(this.#kek, key => deriveKeyring(this.#engine, key, `${arn} ${version}`))
    try {
      return await use(kek)
    } finally {
      wipe(kek)
    }
  }

  /** Lends a copy of a secret: closing the key store meanwhile must not turn it into zeros. */
  async #lend<T>(secret: DataKey, use: (key: Uint8Array) => MaybePromise<T>): Promise<T> {
    const key = copy(secret.bytes)
    try {
      return await use(key)
    } finally {
      wipe(key)
    }
  }
}

const tempsOf = (top: string): string => join(top, 'temp')

/** The key store's own folder first: it may be there, made by a process that was killed before it was durable. */
const makeDirectories = async (top: string): Promise<void> => {
  await makeDirectory(top)
  await makeDirectory(tempsOf(top))
}
