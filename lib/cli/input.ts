/** Where bytes come from: a file that can be read anywhere, or a pipe. */
import { type FileHandle, open } from 'node:fs/promises'
import { concat } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { RandomAccess } from '../object/file.ts'
import type { Io } from './io.ts'

/** Bytes that are read at a time. */
const readSize = 1024 * 1024

/** Bytes that come one chunk after the other. */
export type Source = AsyncIterable<Uint8Array>

/** A file that is open. */
export interface OpenFile extends RandomAccess {
  /** Its bytes from `start` to `end` inclusive, or all that it has by then. */
  bytes(range?: { readonly start: number; readonly end: number }): Source
}

/** An input: `file` where it can be read anywhere, else `pipe`. */
export type Input =
  { readonly file: OpenFile; readonly pipe?: undefined } | { readonly file?: undefined; readonly pipe: Source }

/** At most `most` bytes from `at` on, which is `null` where a file cannot be read anywhere. */
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
  /** Exactly these bytes; `FileFailed` where they are not there any more. */
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

/** Opens a named input for as long as `use` takes; stdin where none is named, or `-`. A device or FIFO is a pipe. */
export const withInput = async <T>(path: string | undefined, io: Io, use: (input: Input) => Promise<T>): Promise<T> => {
  if (path === undefined || path === '-') return use({ pipe: io.stdin })
  const handle = await open(path)
  try {
    const stat = await handle.stat()
    return await use(
      stat.isFile() ? { file: fileOf(path, handle, stat.size) } : { pipe: bytesOf(handle, null, Infinity) },
    )
  } finally {
    await handle.close()
  }
}
