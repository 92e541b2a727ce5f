/**
 * Moves bytes from an input to an output with a progress bar. An input is a file with random access or a pipe. An output is stdout, or a
 * file that is written whole or not at all: its content goes to a temporary file beside it, is made durable and renamed. An error before
 * that leaves the old file as it was.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Transform, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { concat } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { RandomAccess } from '../object/file.ts'
import { usage } from './failure.ts'
import type { Io } from './io.ts'
import { type ProgressOptions, showBar } from './progress.ts'
import { hasCode, syncDirectory } from '../files.ts'

/** What {@link pump} moves. */
export interface PumpOptions {
  readonly source: Source
  /** Length of the source in bytes, if known. */
  readonly total: number | undefined
  readonly through: readonly Transform[]
  /** A file. Stdout if left out, or `-`. */
  readonly output: string | undefined
  /** Whether a file that is there may be replaced. */
  readonly force: boolean
}

/** Resolves when the output has everything, durably if it is a file. Rejects with the first error, or with an `AbortError`. */
export const pump = (io: Io, { source, total, through, output, force }: PumpOptions): Promise<void> =>
  writeOutput(output, force, io, async (sink, before) => {
    const sharesTerminal = sink === io.stdout && io.stdout.isTTY === true
    const meter = progress(io, total, { visible: io.stderr.isTTY === true && !sharesTerminal })
    try {
      await pipeline(source, meter.stream, ...through, ...before, sink, { signal: io.signal })
    } finally {
      meter.stop()
    }
  })

/** Chunks of bytes. */
export type Source = AsyncIterable<Uint8Array>

/** An open file. */
export interface OpenFile extends RandomAccess {
  /** Its bytes from `start` to `end` inclusive, or all up to its end at the time of reading. */
  bytes(range?: { readonly start: number; readonly end: number }): Source
}

/** An input: `file` if it has random access, else `pipe`. */
export type Input =
  { readonly file: OpenFile; readonly pipe?: undefined } | { readonly file?: undefined; readonly pipe: Source }

/** Opens the named input while `use` runs: stdin if no name is given, or `-`. A device or a FIFO is a pipe. */
export const withInput = async <T>(path: string | undefined, io: Io, use: (input: Input) => Promise<T>): Promise<T> => {
  if (path === undefined || path === '-') return use({ pipe: io.stdin })
  const handle = await open(path)
  try {
    const found = await handle.stat()
    return await use(
      found.isFile() ? { file: fileOf(path, handle, found.size) } : { pipe: bytesOf(handle, null, Infinity) },
    )
  } finally {
    await handle.close()
  }
}

/** Bytes that are read at a time. */
const readSize = 1024 * 1024

/** At most `most` bytes from offset `at`, which is `null` for a pipe. */
async function* bytesOf(handle: FileHandle, at: number | null, most: number): Source {
  let length = 0
  while (length < most) {
    const size = Math.min(readSize, most - length)
    const position = at === null ? null : at + length
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(size), 0, size, position)
    if (bytesRead === 0) return
    length += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

const fileOf = (path: string, handle: FileHandle, size: number): OpenFile => {
  async function* exactly(start: number, end: number): Source {
    let left = end - start + 1
    for await (const chunk of bytesOf(handle, start, left)) {
      left -= chunk.length
      yield chunk
    }
    if (left > 0) throw new SseError('FileFailed', { message: `${path} became shorter while it was read. Try again.` })
  }
  return {
    size,
    read: async (start, end) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of exactly(start, end)) chunks.push(chunk)
      return concat(...chunks)
    },
    bytes: range => (range === undefined ? bytesOf(handle, 0, Infinity) : exactly(range.start, range.end)),
  }
}

/**
 * Writes to the named file, or to stdout. `write` gets the sink, and streams that the bytes have to pass first: a terminal gets no binary,
 * unless `-` is named.
 */
const writeOutput = async (
  path: string | undefined,
  force: boolean,
  io: Io,
  write: (sink: Writable, before: readonly Transform[]) => Promise<void>,
): Promise<void> => {
  if (path !== undefined && path !== '-') return replaceFile(path, force, sink => write(sink, []))
  return write(io.stdout, path === undefined && io.stdout.isTTY === true ? [textOnly()] : [])
}

/** Fails on control characters, which a terminal would obey. */
const textOnly = (): Transform =>
  new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      const isBinary = chunk.some(byte => (byte < 32 && byte !== 9 && byte !== 10 && byte !== 13) || byte === 127)
      if (!isBinary) done(null, chunk)
      else done(usage('this is binary, and stdout is a terminal', 'Name a file with -o FILE, or force it with -o -.'))
    },
  })

/**
 * Writes a file whole or not at all. `write` ends the stream that it gets, or rejects. An existing file is replaced only with `force`, and
 * keeps its mode then; a symbolic link stays one. Devices and FIFOs are written to directly.
 */
const replaceFile = async (path: string, force: boolean, write: (sink: Writable) => Promise<void>): Promise<void> => {
  const target = (await ifExists(realpath(path))) ?? path
  const old = await ifExists(stat(target))
  if (old !== undefined && !old.isFile()) return writeInto(await open(target, 'w'), false, write)
  if (!force) await assertNew(path)
  const temp = tempBeside(target)
  const handle = await openIn(dirname(target), temp)
  try {
    if (old !== undefined) await handle.chmod(old.mode & 0o7777)
    await writeInto(handle, true, write)
    if (!force) await assertNew(path) // another process may have made it meanwhile
    await rename(temp, target)
    await syncDirectory(dirname(target))
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
}

const assertNew = async (path: string): Promise<void> => {
  if ((await ifExists(lstat(path))) === undefined) return
  const message = `${path} exists already. Name another file with -o, or replace it with --force.`
  throw new SseError('FileFailed', { message })
}

const openIn = async (directory: string, path: string): Promise<FileHandle> => {
  const handle = await ifExists(open(path, 'wx'))
  if (handle !== undefined) return handle
  const message = `There is no folder ${directory}. Make it, or name a file in another one with -o.`
  throw new SseError('FileFailed', { message })
}

/** Creates a file with this content, mode 0600. `false` if it exists. Of several processes one wins, and no one sees half a file. */
export const createOnce = async (path: string, content: string): Promise<boolean> => {
  if ((await ifExists(stat(path))) !== undefined) return false
  const temp = tempBeside(path)
  try {
    await writeFile(temp, content, { flag: 'wx', mode: 0o600, flush: true })
    await link(temp, path)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await rm(temp, { force: true })
  }
}

const ifExists = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const tempBeside = (path: string): string => join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`)

/** Runs `write` with a stream into an open file, and closes the file in any case. */
const writeInto = async (
  handle: FileHandle,
  flush: boolean,
  write: (sink: Writable) => Promise<void>,
): Promise<void> => {
  const sink = handle.createWriteStream({ flush })
  try {
    await write(sink)
  } finally {
    sink.destroy()
    await handle.close()
  }
}

/** Counts the bytes that pass, and shows them. */
export interface Progress {
  /** A stage of the pipeline. It changes nothing. */
  readonly stream: Transform
  /** Removes the bar. */
  stop(): void
}

/** A counter for the pipeline, with a progress bar on stderr by the optional package cli-progress. `total` is the input's length, if known. */
export const progress = (io: Io, total: number | undefined, options: ProgressOptions): Progress => {
  const start = Date.now()
  let bytes = 0
  const text = () => describe(bytes, total, (Date.now() - start) / 1000)
  const bar = showBar(io, { ...options, total, now: () => ({ value: bytes, text: text() }) })
  return {
    stream: new Transform({
      transform: (chunk: Uint8Array, _encoding, done) => {
        bytes += chunk.length
        done(null, chunk)
      },
    }),
    stop: () => bar.stop(),
  }
}

/** The text of the bar after `seconds`. `total` is `undefined` for a pipe. */
export const describe = (bytes: number, total: number | undefined, seconds: number): string => {
  const rate = seconds > 0 ? bytes / seconds : 0
  const done = total === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(total)}`
  const time = total === undefined ? formatTime(seconds) : `${rate > 0 ? formatTime((total - bytes) / rate) : '?'} left`
  return `${done} | ${formatBytes(Math.round(rate))}/s | ${time}`
}

/** Formats bytes, such as `1.5 GiB`. */
export const formatBytes = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** Formats seconds, such as `1:05:09`. */
export const formatTime = (seconds: number): string => {
  const s = Math.ceil(seconds)
  const two = (n: number) => String(n).padStart(2, '0')
  const hours = Math.floor(s / 3600)
  const minutes = Math.floor(s / 60) % 60
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(s % 60)}`
}
