/**
 * The embedded key store as a place: a directory that a root key unlocks, and authenticated files in it. What the files say is not this
 * file's business.
 *
 *     keyring.json                            see header.ts
 *     keys/REGION/DOMAIN/UUID/000001.json     revisions of a master key; the highest one counts
 *     keys/REGION/DOMAIN/aliases/HASH.json    an alias
 *     made/REGION.DOMAIN.UUID.json            that there is such a key
 *     temp/                                   files that are being written
 *
 * With the directory but without the root key nobody can read a key, or make, change or exchange a file. Deleting the newest
 * revision, which brings the one before it back, is not detected, except by a process that saw the newer one.
 *
 * The root key may be changed while processes use the key store (`root-key-change.ts`). keyring.json says which one counts, so each process
 * looks whether it is another file before it reads or gives a file its name. Whoever puts another keyring.json there deletes all temporary
 * files then: what was checked against the old one gets no name any more.
 */
import { dirname, join, resolve } from 'node:path'
import { equal, utf8, wipe } from '../../bytes.ts'
import type { Engine } from '../../cipher/engine.ts'
import { SseError } from '../../errors.ts'
import {
  clearTemps,
  createFile,
  makeDirectory,
  namesIn,
  type Place,
  readIfThere,
  removeFile,
  replaceFile,
  stampOf,
  sweepTemps,
} from './files.ts'
import { encodeHeader, type Header, headerFile, newId, parseHeader } from './header.ts'
import { KeyringKeys } from './keyring-keys.ts'
import { mayChange, newScrypt, type RootKeySource, rootKeys, type SettledSource, settleSource } from './root-key.ts'
import { bodyOf, corrupt } from './sealed-json.ts'

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

/** An authentic file. */
export interface ReadFile {
  readonly body: string
  /** What it was sealed with. */
  readonly keys: KeyringKeys
}

/** What a keyring.json means. */
interface View extends Pick<Header, 'scrypt'> {
  /** Which file it was. */
  readonly stamp: string
  readonly keys: KeyringKeys
  /** While the root key is changed: the keys of the one before, which open what is not sealed anew yet. */
  readonly previous: KeyringKeys | undefined
}

interface Tools extends Pick<KeyringOptions, 'engine' | 'warn'> {
  /** Where another root key may come from later; of bytes and passphrases, which are given once, nothing is kept. */
  readonly source: SettledSource | undefined
}

/** A file is written again so many times where others delete it before it has its name. */
const mostTries = 100

const changed = (cause?: unknown): never => {
  const message =
    'The root key of the key store was changed, and this process does not have the new one. Put it into the root key file, or start the ' +
    'process again with the new one.'
  throw new SseError('KeyringLocked', { message, cause })
}

/** A directory and the keys derived from its root key, until {@link Keyring.close}. Paths are relative to the directory. */
export class Keyring {
  /** Full path of the directory. */
  readonly directory: string
  /** Made with the key store, 32 hex digits; not secret. */
  readonly id: string
  readonly #tools: Tools
  readonly #place: Place
  /** All keys that were in use: what is under way may still use them. */
  readonly #held = new Set<KeyringKeys>()
  #view: View
  #looking: Promise<void> | undefined
  #isClosed = false

  private constructor(directory: string, id: string, tools: Tools, view: View) {
    this.directory = directory
    this.id = id
    this.#tools = tools
    this.#place = placeOf(directory)
    this.#view = this.#hold(view)
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
    await sweepTemps(placeOf(top).temps, options.now, top)
    const { engine, warn } = options
    const stamp = await stampOf(path)
    const bytes = (await readIfThere(path, top)) ?? corrupt(headerFile)
    const header = parseHeader(bodyOf(bytes))
    const keys = made ?? (await findKeys({ engine, warn, source }, header, bytes)) ?? locked()
    const tools = { engine, warn, source: mayChange(source) ? source : undefined }
    return new Keyring(top, header.id, tools, await viewOf(header, stamp, keys))
  }

  /** The keys of a new key store; nothing where another process was faster. */
  static async #make(top: string, source: SettledSource, options: KeyringOptions): Promise<KeyringKeys | undefined> {
    if (!options.create) {
      const message = `There is no key store in ${top}. Name the right directory, or create a key store first.`
      throw new SseError('FileFailed', { message })
    }
    // Where another process is making it right now, keyring.json is there before the first key is.
    const hasKeys = (await namesIn(join(top, 'keys'), top)).length > 0
    if (hasKeys && (await readIfThere(join(top, headerFile), top)) === undefined) return corrupt(headerFile)
    const header = { id: newId(), scrypt: newScrypt(source) }
    const [keys] = await derived(
      options.engine,
      header.id,
      await rootKeys(source, { ...header, isNew: true, warn: options.warn }),
    )
    if (keys === undefined) return locked()
    await makeDirectories(top)
    const bytes = await keys.seal(headerFile, encodeHeader(header))
    if ((await createFile(join(top, headerFile), bytes, placeOf(top))) === true) return keys
    keys.dispose()
    return undefined
  }

  /** What files are sealed with now. */
  get keys(): KeyringKeys {
    return this.#view.keys
  }

  /** The keys of the root key before, where a change has begun and not ended as far as this process has seen. */
  get previous(): KeyringKeys | undefined {
    return this.#view.previous
  }

  /** A file; none where there is no such file. `KeyringCorrupt` unless it is what was written there with this root key. */
  async read(path: string): Promise<ReadFile | undefined> {
    for (;;) {
      const view = await this.#newest()
      const bytes = await readIfThere(join(this.directory, path), this.directory)
      if (bytes === undefined) return undefined
      const { keys, previous } = view
      for (const each of previous === undefined ? [keys] : [keys, previous]) {
        if (await each.isSealed(path, bytes)) return { body: bodyOf(bytes), keys: each }
      }
      if (await this.#isNewest(view)) return corrupt(path)
    }
  }

  /**
   * Creates a file with this body, durably, if files are still sealed with these keys. `false` where there is one already; `changed` where
   * they are sealed with others: what the body holds may be wrapped with the old ones.
   */
  async create(path: string, body: string, keys: KeyringKeys): Promise<boolean | 'changed'> {
    const bytes = await keys.seal(path, body)
    const full = join(this.directory, path)
    for (let tries = 0; tries < mostTries; tries++) {
      const view = await this.#newest()
      if (keys !== view.keys) return 'changed'
      await makeDirectory(dirname(full))
      const created = await createFile(full, bytes, this.#place, () => this.#isNewest(view))
      if (created !== 'refused') return created
    }
    return unsettled()
  }

  /** Creates a file whose body holds nothing that is wrapped, durably; `false` where there is one already. */
  async put(path: string, body: string): Promise<boolean> {
    for (;;) {
      const created = await this.create(path, body, this.keys)
      if (created !== 'changed') return created
    }
  }

  /**
   * Deletes a file, durably; `false` where there is none. A change of the root key must not put it there again: what that has not sealed anew
   * yet is sealed anew before, and what it is about to put there loses its temporary file.
   */
  async remove(path: string): Promise<boolean> {
    let isRemoved = false
    for (;;) {
      const view = await this.#newest()
      if (view.previous !== undefined || isRemoved) {
        await this.reseal(path)
        await this.fence()
      }
      if (await removeFile(join(this.directory, path), this.directory)) isRemoved = true
      if (await this.#isNewest(view)) return isRemoved
    }
  }

  /** Seals a file anew that is sealed with the keys of the root key before, in its place; `false` where there is none. */
  async reseal(path: string): Promise<boolean> {
    const full = join(this.directory, path)
    for (let tries = 0; tries < mostTries; tries++) {
      const view = await this.#newest()
      const found = await this.read(path)
      if (found === undefined || found.keys === view.keys) return false
      const [before, after] = [await found.keys.seal(path, found.body), await view.keys.seal(path, found.body)]
      const isSame = async (): Promise<boolean> => {
        const now = await readIfThere(full, this.directory)
        return now !== undefined && equal(now, before) && this.#isNewest(view)
      }
      if ((await replaceFile(full, after, this.#place, isSame)) !== 'refused') return true
    }
    return unsettled()
  }

  /** Makes another root key the one that counts; that before opens what is not sealed anew yet. `false` where another process was faster. */
  async beginChange(source: SettledSource): Promise<boolean> {
    const view = await this.#newest()
    if (view.previous !== undefined) return false
    const { engine, warn } = this.#tools
    const scrypt = newScrypt(source)
    const [keys] = await derived(engine, this.id, await rootKeys(source, { scrypt, isNew: false, warn }))
    if (keys === undefined) return locked()
    this.#held.add(keys)
    return this.#exchange(view, keys, { id: this.id, scrypt, previous: await keys.wrapKeys(view.keys) })
  }

  /** Makes sure that no process gives a file its name any more that it has sealed before the change began. */
  fence(): Promise<void> {
    return clearTemps(this.#place)
  }

  /** From now on the root key before, with these keys, opens nothing. `false` where another change has begun. */
  async endChange(previous: KeyringKeys | undefined): Promise<boolean> {
    const view = await this.#newest()
    if (view.previous !== previous || previous === undefined) return view.previous === undefined
    return this.#exchange(view, view.keys, { id: this.id, scrypt: view.scrypt })
  }

  /** SHA-256 of a name in this key store: for names of files and default keys, not for secrets. */
  async fingerprint(name: string): Promise<Uint8Array> {
    return this.#tools.engine.sha256(utf8(`${this.id} ${name}`))
  }

  /** Wipes the keys; every later call fails. */
  close(): void {
    this.#isClosed = true
    for (const keys of this.#held) keys.dispose()
  }

  async #exchange(view: View, keys: KeyringKeys, header: Header): Promise<boolean> {
    const path = join(this.directory, headerFile)
    const bytes = await keys.seal(headerFile, encodeHeader(header))
    for (;;) {
      if (!(await this.#isNewest(view))) return false
      if ((await replaceFile(path, bytes, this.#place, () => this.#isNewest(view))) !== 'refused') break
    }
    await this.fence()
    const stamp = await stampOf(path)
    const found = await readIfThere(path, this.directory)
    // Until the fence, another change that had looked before could put its own there. (What a server writes in that moment would be lost with the
    // root key of the other one: so the operator runs one at a time.)
    if (found === undefined || !equal(found, bytes)) return false
    this.#view = this.#hold(await viewOf(header, stamp, keys))
    return true
  }

  /** Whether this is what the keyring.json means that lies there now. */
  async #isNewest(view: View): Promise<boolean> {
    return view === this.#view && view.stamp === (await stampOf(join(this.directory, headerFile)))
  }

  /** What the keyring.json means that lies there now. Calls at the same time look once. */
  async #newest(): Promise<View> {
    for (;;) {
      const view = this.#view
      if (await this.#isNewest(view)) return view
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined
      })
      await this.#looking
    }
  }

  async #look(): Promise<void> {
    const path = join(this.directory, headerFile)
    const stamp = await stampOf(path)
    const bytes = (await readIfThere(path, this.directory)) ?? corrupt(headerFile)
    const header = parseHeader(bodyOf(bytes))
    if (header.id !== this.id) return corrupt(headerFile)
    const { keys } = this.#view
    const found = (await keys.isSealed(headerFile, bytes)) ? keys : await this.#newKeys(header, bytes)
    this.#view = this.#hold(await viewOf(header, stamp, found))
  }

  async #newKeys(header: Header, bytes: Uint8Array): Promise<KeyringKeys> {
    const { source, ...tools } = this.#tools
    if (source === undefined) return changed()
    return (await findKeys({ ...tools, source }, header, bytes).catch(changed)) ?? changed()
  }

  #hold(view: View): View {
    for (const keys of [view.keys, view.previous]) {
      if (keys !== undefined) this.#held.add(keys)
      if (this.#isClosed) keys?.dispose()
    }
    return view
  }
}

const locked = (): never => {
  throw new SseError('KeyringLocked')
}

const unsettled = (): never => {
  const message = 'The key store could not be written: other processes change it all the time. Try again later.'
  throw new SseError('KmsUnavailable', { message })
}

const viewOf = async ({ scrypt, previous }: Header, stamp: string, keys: KeyringKeys): Promise<View> => ({
  stamp,
  scrypt,
  keys,
  previous: previous && (await keys.unwrapKeys(previous)),
})

/** The keys of root keys, which are wiped. */
const derived = async (engine: Engine, id: string, roots: readonly Uint8Array[]): Promise<readonly KeyringKeys[]> => {
  try {
    return await Promise.all(roots.map(root => KeyringKeys.derive(engine, id, root)))
  } finally {
    for (const root of roots) wipe(root)
  }
}

/** Those of the root key of a source that keyring.json was sealed with. */
const findKeys = async (
  { engine, source, warn }: Tools & { readonly source: SettledSource },
  { id, scrypt }: Header,
  bytes: Uint8Array,
): Promise<KeyringKeys | undefined> => {
  let found: KeyringKeys | undefined
  for (const keys of await derived(engine, id, await rootKeys(source, { scrypt, isNew: false, warn }))) {
    if (found === undefined && (await keys.isSealed(headerFile, bytes))) found = keys
    else keys.dispose()
  }
  return found
}

const placeOf = (top: string): Place => ({ temps: join(top, 'temp'), top })

/** The key store's own folder first: it may be there, made by a process that was killed before it was durable. */
const makeDirectories = async (top: string): Promise<void> => {
  await makeDirectory(top)
  await makeDirectory(placeOf(top).temps)
}
