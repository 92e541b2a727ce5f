/**
 * Where the root key of the embedded key store comes from: a file, an environment variable, a passphrase, or the program itself. It
 * never lies in the key store.
 */
import { chown, open, realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { copy, equal, fromBase64, fromBase64url, fromHex, hex, utf8, wipe } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { keySize } from '../../cipher/suite.ts'
import { assertBytes, assertOptions, assertText, wrongArgument } from '../../arguments.ts'
import { SseError } from '../../errors.ts'
import { createFile, makeDirectory, replaceFile, sweepTemps } from './files.ts'

/** What scrypt costs (RFC 7914): memory is 128 * N * r bytes, at most 1 GiB. */
export interface ScryptCost {
  /** A power of two, 2 to 2^20. */
  readonly N: number
  /** 1 to 32. */
  readonly r: number
  /** 1 to 16. */
  readonly p: number
}

/** scrypt's salt and cost, as the key store keeps them. */
export interface ScryptParameters extends ScryptCost {
  /** 16 bytes, not secret. */
  readonly salt: Uint8Array
}

/** A file of 32 bytes, or of their hex or base64. It may have several of these, one a line: the first is the newest. */
export interface RootKeyFile {
  /** Its path. */
  readonly file: string
  /** Makes the file, mode 0600, where it is missing and the key store is new. */
  readonly create?: boolean | undefined
}

/** An environment variable with the hex or base64 of 32 bytes, or several of them with spaces between: the first is the newest. */
export interface RootKeyEnvironment {
  /** Its name. */
  readonly environment: string
}

/** A passphrase, or a function that asks for it once; compared in Unicode's form NFC. */
export interface RootKeyPassphrase {
  /** Not empty. */
  readonly passphrase: string | (() => Promise<string>)
  /** For a new key store; an existing one keeps its own. Left out: N 2^17, r 8, p 1 (128 MiB, about a second). */
  readonly cost?: ScryptCost | undefined
}

/** The 32 bytes themselves, which are copied. */
export interface RootKeyBytes {
  /** Exactly 32. */
  readonly key: Uint8Array
}

/** Where a root key comes from. */
export type RootKeySource = RootKeyFile | RootKeyEnvironment | RootKeyPassphrase | RootKeyBytes

/** A source whose passphrase was asked for. */
export type SettledSource =
  RootKeyFile | RootKeyEnvironment | (RootKeyPassphrase & { readonly passphrase: string }) | RootKeyBytes

const saltBytes = 16
const defaultCost: ScryptCost = { N: 2 ** 17, r: 8, p: 1 }
const longestFile = 1024

const locked = (message: string, cause?: unknown): never => {
  throw new SseError('KeyringLocked', { message, cause })
}

const within = (n: number, most: number): boolean => Number.isSafeInteger(n) && n >= 1 && n <= most

/** Whether a cost is within the limits of {@link ScryptCost}. */
export const isCost = ({ N, r, p }: ScryptCost): boolean =>
  within(Math.log2(N), 20) && within(r, 32) && within(p, 16) && 128 * N * r <= 2 ** 30

const assertSource = (source: RootKeySource): void => {
  const takes = '{ file }, { environment }, { passphrase } or { key }'
  assertOptions('root', source, takes)
  if ('passphrase' in source) {
    if (typeof source.passphrase !== 'function' && typeof source.passphrase !== 'string') {
      wrongArgument('passphrase of root', 'text, or a function that gives it', source.passphrase)
    }
  } else if ('file' in source) assertText('file of root', source.file, 'the path of a file')
  else if ('environment' in source) assertText('environment of root', source.environment, 'the name of a variable')
  else if ('key' in source) assertBytes('key of root', source.key, '32 bytes: a Uint8Array or Buffer')
  else wrongArgument('root', takes, source)
}

/** The source, its passphrase asked for. */
export const settleSource = async (source: RootKeySource): Promise<SettledSource> => {
  assertSource(source)
  if (!('passphrase' in source)) return source
  const { passphrase } = source
  return { ...source, passphrase: typeof passphrase === 'string' ? passphrase : await passphrase() }
}

/** Parameters for a new key store: a new salt where the source is a passphrase. `RangeError` where its cost is out of limits. */
export const newScrypt = (source: SettledSource): ScryptParameters | undefined => {
  if (!('passphrase' in source)) return undefined
  const cost = source.cost ?? defaultCost
  if (!isCost(cost))
    throw new RangeError('scrypt takes N a power of two up to 2^20, r 1 to 32, p 1 to 16, and 1 GiB in all')
  return { ...cost, salt: randomBytes(saltBytes) }
}

/** What {@link rootKey} has to know of the key store. */
export interface RootKeyUse {
  /** What the key store keeps, if it was made with a passphrase. */
  readonly scrypt: ScryptParameters | undefined
  /** Whether there is no key store yet. */
  readonly isNew: boolean
  /** Told where others than its owner may read or write the file. */
  readonly warn: (message: string) => void
}

/**
 * The root keys of a source, the newest first, 32 bytes each; the caller wipes them. `KeyringLocked` where the source has none, or is of
 * another kind than the key store was made with; `RangeError` where `key` has not 32 bytes.
 */
export const rootKeys = async (
  source: SettledSource,
  { scrypt, isNew, warn }: RootKeyUse,
): Promise<readonly Uint8Array[]> => {
  if ('passphrase' in source) {
    if (scrypt === undefined)
      return locked('The key store was made without a passphrase. Give the root key that it was made with.')
    return [await fromPassphrase(source.passphrase, scrypt)]
  }
  if (scrypt !== undefined) return locked('The key store was made with a passphrase. Give that.')
  if ('file' in source) {
    const path = resolve(source.file)
    if (source.create === true) await makeFile(path, isNew)
    return fromFile(path, warn)
  }
  if ('environment' in source) return fromEnvironment(source.environment)
  if (source.key.length !== keySize) throw new RangeError(`a root key has ${keySize} bytes`)
  return [copy(source.key)]
}

/** Whether a source may give other root keys than before when it is asked again. */
export const mayChange = (source: SettledSource): source is RootKeyFile | RootKeyEnvironment =>
  'file' in source || 'environment' in source

const fromPassphrase = async (passphrase: string, { N, r, p, salt }: ScryptParameters): Promise<Uint8Array> => {
  if (passphrase === '') return locked('The passphrase is empty. Give the one that the key store was made with.')
  const { scryptAsync } = await import('@noble/hashes/scrypt.js')
  const password = utf8(passphrase.normalize('NFC'))
  try {
    return await scryptAsync(password, salt, { N, r, p, dkLen: keySize, maxmem: 2 ** 31 })
  } finally {
    wipe(password)
  }
}

const fromEnvironment = (name: string): readonly Uint8Array[] =>
  fromText(process.env[name] ?? '') ??
  locked(`The environment variable ${name} has no root key. Set it to the hex or base64 of 32 bytes.`)

/** The keys of a text with white space between them; none where one of them is no key. */
const fromText = (text: string): readonly Uint8Array[] | undefined => {
  const keys: Uint8Array[] = []
  for (const word of text.trim().split(/\s+/)) {
    const key = fromHex(word) ?? fromBase64(word) ?? fromBase64url(word)
    if (key?.length !== keySize) return undefined
    keys.push(key)
  }
  return keys
}

const fromFile = async (path: string, warn: RootKeyUse['warn']): Promise<readonly Uint8Array[]> => {
  const content = await readStart(path, warn)
  try {
    if (content.length === keySize) return [copy(content)]
    const keys = fromText(String.fromCharCode(...content))
    return keys ?? locked(`The file ${path} is no root key. Give one of 32 bytes, or of their hex or base64.`)
  } finally {
    wipe(content)
  }
}

/**
 * Puts a new root key in front of those in a file, whose owner it keeps. `RootKeyRefused` where others may use the file, or it has room for
 * no more; `KeyringLocked` where it has no root key.
 */
export const addRootKey = async (file: string): Promise<void> => {
  const path = await realpath(file).catch(() => resolve(file))
  const refused = (message: string): never => {
    throw new SseError('RootKeyRefused', { message })
  }
  const before = await readStart(path, refused)
  const keys = [randomBytes(keySize), ...(await fromFile(path, refused))]
  const content = utf8(keys.map(key => `${hex(key)}\n`).join(''))
  try {
    if (content.length > longestFile) refused(`The file ${path} has too many root keys. Take out the oldest.`)
    const { uid, gid } = await stat(path)
    const isSame = async (temp: string): Promise<boolean> => {
      const made = await stat(temp)
      if (made.uid !== uid || made.gid !== gid) await chown(temp, uid, gid)
      const now = await readStart(path, refused)
      const same = equal(now, before)
      wipe(now)
      return same
    }
    const directory = dirname(path)
    if ((await replaceFile(path, content, { temps: directory, top: directory }, isSame)) === 'refused')
      refused(`The file ${path} was changed at the same time. Try again.`)
  } finally {
    for (const secret of [before, content, ...keys]) wipe(secret)
  }
}

const makeFile = async (path: string, isNew: boolean): Promise<void> => {
  const directory = dirname(path)
  await makeDirectory(directory)
  await sweepTemps(directory, Date.now())
  if (!isNew) return
  const key = randomBytes(keySize)
  try {
    await createFile(path, key, { temps: directory, top: directory })
  } finally {
    wipe(key)
  }
}

const readStart = async (path: string, warn: RootKeyUse['warn']): Promise<Uint8Array> => {
  const content = new Uint8Array(longestFile)
  try {
    const handle = await open(path)
    try {
      const { mode } = await handle.stat()
      // Windows has no such modes.
      if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
        const found = (mode & 0o777).toString(8)
        warn(`The root key file ${path} has mode ${found}: others than its owner may use it. Run: chmod 600 ${path}`)
      }
      let length = 0
      let more: number
      do {
        more = (await handle.read(content, length, longestFile - length)).bytesRead
        length += more
      } while (more > 0)
      return content.subarray(0, length)
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (cause instanceof SseError) throw cause
    return locked(
      `The root key file ${path} cannot be read. Name the right file, or have it made together with a new key store.`,
      cause,
    )
  }
}
