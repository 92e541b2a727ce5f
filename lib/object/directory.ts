/**
 * A directory of sealed objects, one self-describing file for each: what a server of one machine needs to put, get and remove objects by name.
 * It lists nothing, keeps no metadata and authenticates nobody; `sse-kms-streams/store` and the gateway do. Several processes may share it.
 *
 * @module sse-kms-streams/files
 */
import { createHash, randomUUID } from 'node:crypto'
import { lstat, opendir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { assertFunctions, assertOptions, assertText, wrongArgument } from '../arguments.ts'
import { concat, isWellFormed } from '../bytes.ts'
import { SseError } from '../errors.ts'
import { hasCode, makeDirectory, syncDirectory } from '../files.ts'
import type { ContextInput } from '../kms/context.ts'
import type { Chunks } from '../segment/driver.ts'
import type { StoredBody } from '../store/body-store.ts'
import { asStoreFailed } from '../store/failure.ts'
import { createFile, openFile, removeFile } from '../store/file/disk.ts'
import { bodyOf, plaintextOf, webOf } from './body.ts'
import type { FileParts, RandomAccess } from './file.ts'
import { answerOf, type AnswerHead, parseRange } from './http.ts'
import type { Sse } from './node.ts'

/** What {@link sealedFiles} is given. */
export interface SealedFilesOptions {
  /** What encrypts and decrypts: of `createSse`. */
  readonly sse: Pick<Sse, 'encrypt' | 'decryptFile'>
  /** Where the files lie. It is made where it is missing, with mode 0700. */
  readonly directory: string
  /** The encryption context of an object: binds its data key to its name, so that no file can stand in for another one. */
  readonly context: (name: string) => ContextInput
}

/** How an object is put. */
export interface PutOptions {
  /** Bytes of the body, where they are declared: a body of another length is refused with `LengthMismatch`. */
  readonly length?: number | undefined
  /** Aborts the put, which rejects with an `AbortError` or the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** How an object is got. */
export interface GetOptions {
  /** Aborts the call to the key manager. */
  readonly signal?: AbortSignal | undefined
}

/** Headers of a request by their names in lower case, such as `req.headers` of `node:http`. `range` and `if-range` are heeded. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** What a request is answered with. */
export interface FileAnswer extends AnswerHead {
  /** The object's ETag, without quotes. */
  readonly etag: string
  /** Bytes of the body that was put, or that `stream` gives. */
  readonly length: number
  /**
   * The body of the answer: plaintext, nothing after a put. A segment leaves once its tag was checked, and a failure destroys the stream: use
   * `pipeline()`, which destroys the answer then. The file is closed when the stream ends or is destroyed; one that nobody has begun to read for 30
   * seconds is destroyed.
   */
  readonly stream: Readable
  /** The same as a WHATWG stream, for `new Response`: take one of the two. A failure errors it, and to cancel it closes the file. */
  web(): ReadableStream<Uint8Array>
}

/** A directory of sealed objects. Names are any text but halves of surrogate pairs: `InvalidArgument`. */
export interface SealedFiles {
  /**
   * Seals a body into a file of its own, flushes it and renames it into place: whoever reads gets the old object or the new one, whole, and of
   * several at once the last remains. A put that fails or is aborted leaves the old object and nothing else, and destroys a source that is a
   * stream. `null` is an empty body, as `Request.body` has it. Rejects with the error of the source, `StoreFull` or `StoreFailed`, and with the
   * errors of `encrypt`. Resolves to what the request is answered with.
   */
  put(name: string, source: Chunks | Uint8Array | null, options?: PutOptions): Promise<FileAnswer>
  /**
   * Opens an object, or the range that the headers ask for. Every check of the envelope passes before it resolves. Rejects with `NoSuchKey` (404),
   * `RangeNotSatisfiable` (416, with `content-range`), `StoreFailed`, and with the errors of `decryptFile`: `errorAnswer` answers them.
   */
  get(name: string, request?: RequestHeaders, options?: GetOptions): Promise<FileAnswer>
  /** Removes an object, durably: whether there was one. `StoreFailed` where the disk fails. */
  remove(name: string): Promise<boolean>
}

/** Milliseconds after which the part file of a process that was killed is removed, when the directory is opened. */
const abandonedAfter = 24 * 60 * 60 * 1000

/**
 * Opens a directory of sealed objects. The file of an object is named by the SHA-256 of its name, so that every name is safe on every disk; its
 * envelope stands in front. Part files that were not written to for a day are removed. `StoreFailed` where the directory cannot be used.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,sealed-files}
 */
export const sealedFiles = async (options: SealedFilesOptions): Promise<SealedFiles> => {
  assertOptions('sealedFiles', options, 'an object with sse, directory and context')
  const { sse, directory, context } = options
  assertFunctions('sse', sse, 'what createSse makes', ['encrypt', 'decryptFile'])
  assertText('directory', directory, 'the path of a directory')
  if (typeof context !== 'function')
    wrongArgument('context', 'a function from a name to an encryption context', context)
  await asStoreFailed(async () => {
    await makeDirectory(directory)
    await sweepParts(directory)
  })
  const pathOf = (name: string): string => join(directory, fileName(name))

  const write = async (path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> => {
    const part = `${path}.${randomUUID()}.part`
    const sink = await asStoreFailed(() => createFile(part, directory))
    try {
      for await (const piece of pieces) await asStoreFailed(() => sink.write([piece]))
      await asStoreFailed(() => sink.finish())
      await asStoreFailed(() => rename(part, path))
    } catch (error) {
      await sink.discard().catch(() => undefined) // the error that counts is the first one
      throw error
    }
    await asStoreFailed(() => syncDirectory(directory))
  }

  return {
    put: async (name, source, { length, signal } = {}) => {
      const path = pathOf(name)
      const body = bodyOf(source, signal)
      const sealed = await sse.encrypt({ context: context(name), file: true, length, signal })
      try {
        await write(path, sealed.pieces(body.chunks))
      } finally {
        sealed.driver.dispose()
      }
      const { etag } = sealed.result()
      const head = { status: 200, headers: { 'content-length': '0', etag: `"${etag}"` } }
      return { ...head, etag, length: body.length, ...bodyOfAnswer(Readable.from([])) }
    },

    get: async (name, request = {}, { signal } = {}) => {
      const file = await asStoreFailed(() => openFile(pathOf(name)))
      if (file === undefined)
        throw new SseError('NoSuchKey', { message: 'There is no object of this name. Put it first.' })
      try {
        const found = await sse.decryptFile(accessTo(file), { context: context(name), ...wanted(request), signal })
        const { etag, length } = found
        return { ...answerOf(found), etag, length, ...bodyOfAnswer(plaintextOf(file, found)) }
      } catch (error) {
        await file.close()
        throw error
      }
    },

    remove: name =>
      asStoreFailed(async () => {
        const found = await removeFile(pathOf(name))
        if (found) await syncDirectory(directory)
        return found
      }),
  }
}

const bodyOfAnswer = (stream: Readable): Pick<FileAnswer, 'stream' | 'web'> => ({ stream, web: () => webOf(stream) })

/** A hash, since a name may be longer than a file's, hold what a path must not, or differ from another one in case alone. */
const fileName = (name: string): string => {
  if (typeof name !== 'string') wrongArgument('the name of an object', 'text', name)
  if (!isWellFormed(name)) {
    const message = 'The name of the object is not well-formed Unicode. Percent-encode it as UTF-8.'
    throw new SseError('InvalidArgument', { message })
  }
  return createHash('sha256').update(name).digest('hex')
}

const isPart = /^[0-9a-f]{64}\.[0-9a-f-]{36}\.part$/

const sweepParts = async (directory: string): Promise<void> => {
  for await (const { name } of await opendir(directory)) {
    if (!isPart.test(name)) continue
    const path = join(directory, name)
    try {
      if ((await lstat(path)).mtimeMs < Date.now() - abandonedAfter) await removeFile(path)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error // another process was faster
    }
  }
}

const accessTo = (file: StoredBody): RandomAccess => ({
  size: file.size,
  read: (start, end) =>
    asStoreFailed(async () => {
      const chunks: Uint8Array[] = []
      const range = { start, end: end + 1, chunkSize: end + 1 - start, reuse: false }
      for await (const chunk of file.read(range)) chunks.push(chunk)
      return concat(...chunks)
    }),
})

/** The range that a request asks for, and the ETag that it holds for. */
const wanted = (request: RequestHeaders): Pick<FileParts, 'range' | 'ifRange'> => {
  const range = parseRange(text(request['range']))
  const ifRange = text(request['if-range'])
  return { range, ...(ifRange !== undefined && { ifRange: /^"([^"]*)"$/.exec(ifRange.trim())?.[1] ?? '' }) }
}

const text = (header: string | readonly string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : header?.[0]
