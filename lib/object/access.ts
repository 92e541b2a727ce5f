/** A file handle of Node as a file that can be read anywhere. */
import { assertFunctions } from '../arguments.ts'
import { SseError } from '../errors.ts'
import type { RandomAccess } from './file.ts'

/** What a read gave. */
export interface FileRead {
  /** Bytes that came; 0 at the end of the file. */
  readonly bytesRead: number
}

/** How long a file is. */
export interface FileSize {
  /** Its bytes. */
  readonly size: number
}

/** What is needed of a handle that `open` of `node:fs/promises` gives. */
export interface ReadableHandle {
  /** Reads up to `length` bytes of the file from `position` into `buffer` at `offset`. */
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<FileRead>
  /** How long the file is. */
  stat(): Promise<FileSize>
}

/**
 * An open file as `decryptFile` takes it. The caller closes the handle. Reads reject with `FileFailed` where the file became shorter.
 *
 * {@includeCode ../../test/examples/reference.test.ts#sse,http}
 */
export const randomAccess = async (handle: ReadableHandle): Promise<RandomAccess> => {
  assertFunctions('randomAccess', handle, 'a file handle: what open of node:fs/promises gives', ['read', 'stat'])
  const { size } = await handle.stat()
  return {
    size,
    read: async (start, end) => {
      const bytes = new Uint8Array(end - start + 1)
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at)
        if (bytesRead === 0) {
          throw new SseError('FileFailed', { message: 'The file became shorter while it was read. Try again.' })
        }
        at += bytesRead
      }
      return bytes
    },
  }
}
