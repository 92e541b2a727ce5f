/**
 * A file of lines of JSON: the audit of `sse-kms serve`, and its access log. A file that cannot be written to stops no request: lines wait for
 * the next one, so many of them, and the operator is warned.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { SseError } from '../errors.ts'
import { printableJson } from './printable.ts'

/** Where lines go. */
export interface LineFile {
  /** Writes a line, in the order of the calls. Never throws. */
  write(entry: object): void
  /** Goes on in a file that is opened anew: for whoever moved the old one away. Rejects with `FileFailed`, and the old one stays. */
  reopen(): Promise<void>
  /** Writes what waits, as far as that is possible. May be called twice. */
  close(): Promise<void>
}

/** How a file of lines is kept. */
export interface LineFileOptions {
  /** The setting that names it. */
  readonly setting: 'audit' | 'accessLog'
  /** Tells the operator something. */
  warn(message: string): void
  /** Bytes of lines that may wait. Default 8 MiB. */
  readonly most?: number | undefined
  /** Whether other processes append to the same file. Default `false`. */
  readonly shared?: boolean | undefined
}

const nameOf = (path: string, setting: LineFileOptions['setting']): string =>
  setting === 'audit' ? `the audit file ${path}` : `the access log ${path}`

/** Bytes of lines that may wait for a file. */
const mostWaiting = 8 * 1024 * 1024

const newline = 10

const openFile = async (path: string, setting: LineFileOptions['setting']): Promise<FileHandle> => {
  try {
    return await open(path, 'a', 0o600)
  } catch (cause) {
    const message = `${nameOf(path, setting)} cannot be opened. Make its folder, or name another file in ${setting}.`
    throw new SseError('FileFailed', { message, cause })
  }
}

/** A file of lines, which is made with mode 0600, and appended to. */
class AppendedFile implements LineFile {
  readonly #path: string
  readonly #options: LineFileOptions
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

  constructor(file: FileHandle, path: string, options: LineFileOptions) {
    this.#file = file
    this.#path = path
    this.#options = options
    this.#most = options.most ?? mostWaiting
  }

  write(entry: object): void {
    const line = Buffer.from(`${printableJson(entry)}\n`)
    if (this.#closed || this.#size + line.length > this.#most) {
      this.#lost++
      if (this.#lost === 1) this.#warn('takes no more lines: they are lost from now on')
    } else {
      this.#waiting.push(line)
      this.#size += line.length
    }
    this.#start()
  }

  async reopen(): Promise<void> {
    const file = await openFile(this.#path, this.#options.setting)
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
    if (begin === bytes.length) return
    this.#waiting.unshift(bytes.subarray(begin))
    if (this.#written > 0 && this.#options.shared === true) this.#repeat()
  }

  /** Has a torn line written whole behind what is there of it, where the next bytes of the file may be another process's. */
  #repeat(): void {
    this.#written = 0
    this.#waiting.unshift(Buffer.of(newline))
    this.#size += 1
  }

  #warn(what: string): void {
    const { setting, warn } = this.#options
    warn(`${nameOf(this.#path, setting)} ${what}`)
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#warn(`cannot be written to, lines wait: ${String(error)}`)
    this.#failing = true
  }

  #recovered(): void {
    if (this.#failing || this.#lost > 0) {
      this.#warn(`is written to again; ${this.#lost} lines were lost`)
    }
    this.#failing = false
    this.#lost = 0
  }
}

/** Opens a file of lines. Rejects with `FileFailed` where it cannot be opened. */
export const openLineFile = async (path: string, options: LineFileOptions): Promise<LineFile> =>
  new AppendedFile(await openFile(path, options.setting), path, options)
