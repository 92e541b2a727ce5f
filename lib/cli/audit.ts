/**
 * The audit of `sse-kms serve`: a line of JSON for each use of a master key, and for each that was refused for want of a right. It goes to a file
 * or to stderr, apart from the request log. A file that cannot be written to stops no request: lines wait for the next one, so many of
 * them, and the operator is warned.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { SseError } from '../errors.ts'
import type { KeyUseEntry } from '../gateway/options.ts'
import { printableJson } from './printable.ts'

/** Where lines of the audit go. */
export interface Audit {
  /** Writes a line, in the order of the calls. Never throws. */
  write(entry: KeyUseEntry): void
  /** Goes on in a file that is opened anew: for whoever moved the old one away. Rejects with `FileFailed`, and the old one stays. */
  reopen(): Promise<void>
  /** Writes what waits, as far as that is possible. May be called twice. */
  close(): Promise<void>
}

/** Tells the operator something. */
type Warn = (message: string) => void

/** Bytes of lines that may wait for a file. */
const mostWaiting = 8 * 1024 * 1024

const newline = 10

const openFile = async (path: string): Promise<FileHandle> => {
  try {
    return await open(path, 'a', 0o600)
  } catch (cause) {
    const message = `the audit file ${path} cannot be opened. Make its folder, or name another file in audit.`
    throw new SseError('FileFailed', { message, cause })
  }
}

/** An audit in a file, which is made with mode 0600, and appended to. */
class AuditFile implements Audit {
  readonly #path: string
  readonly #warn: Warn
  readonly #most: number
  #file: FileHandle
  #next: FileHandle | undefined
  /** Whole lines, of which `#written` bytes are in the file already. */
  #waiting: Buffer[] = []
  #size = 0
  #written = 0
  #lost = 0
  #failing = false
  #closed = false
  #running: Promise<void> | undefined

  constructor(file: FileHandle, path: string, warn: Warn, most: number) {
    this.#file = file
    this.#path = path
    this.#warn = warn
    this.#most = most
  }

  write(entry: KeyUseEntry): void {
    const line = Buffer.from(`${printableJson(entry)}\n`)
    if (this.#closed || this.#size + line.length > this.#most) {
      this.#lost++
      if (this.#lost === 1) this.#warn(`the audit file ${this.#path} takes no more lines: they are lost from now on`)
    } else {
      this.#waiting.push(line)
      this.#size += line.length
    }
    this.#start()
  }

  async reopen(): Promise<void> {
    const file = await openFile(this.#path)
    await this.#next?.close()
    this.#next = file
    this.#start()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    while (this.#running !== undefined) await this.#running
    await this.#drain()
    await this.#file.close().catch(() => undefined)
  }

  #start(): void {
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined
      if (!this.#failing && this.#waiting.length > 0) this.#start() // came in the meantime
    })
  }

  /** Writes all that waits. What a failure leaves stays, from the line that it tore. */
  async #drain(): Promise<void> {
    for (;;) {
      this.#change()
      if (this.#waiting.length === 0) return
      const bytes = Buffer.concat(this.#waiting)
      this.#waiting = []
      let done = this.#written
      try {
        while (done < bytes.length) done += (await this.#file.write(bytes, done)).bytesWritten
        this.#keep(bytes, done)
        this.#recovered()
      } catch (error) {
        this.#keep(bytes, done)
        this.#failed(error)
        return
      }
    }
  }

  /** Goes on in the file that was opened anew. A line that was torn is written whole there. */
  #change(): void {
    if (this.#next === undefined) return
    const old = this.#file
    this.#file = this.#next
    this.#next = undefined
    this.#written = 0
    old.close().catch(() => undefined)
  }

  /** Keeps what was not written of some lines. */
  #keep(bytes: Buffer, done: number): void {
    const begin = done === 0 ? 0 : bytes.lastIndexOf(newline, done - 1) + 1
    this.#written = done - begin
    this.#size -= begin
    if (begin < bytes.length) this.#waiting.unshift(bytes.subarray(begin))
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#warn(`the audit file ${this.#path} cannot be written to, lines wait: ${String(error)}`)
    this.#failing = true
  }

  #recovered(): void {
    if (this.#failing || this.#lost > 0) {
      this.#warn(`the audit file ${this.#path} is written to again; ${this.#lost} lines were lost`)
    }
    this.#failing = false
    this.#lost = 0
  }
}

/** Opens the audit: a file, or `stderr`. Rejects with `FileFailed` where the file cannot be opened. `most` bytes of lines may wait. */
export const openAudit = async (target: string, warn: Warn, most = mostWaiting): Promise<Audit> => {
  if (target !== 'stderr') return new AuditFile(await openFile(target), target, warn, most)
  return {
    write: entry => void process.stderr.write(`${printableJson(entry)}\n`),
    reopen: async () => undefined,
    close: async () => undefined,
  }
}
