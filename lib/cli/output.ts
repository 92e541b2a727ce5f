/**
 * Where bytes go: stdout, or a file that is written whole or not at all. The new content is written beside the file, made durable and then
 * renamed over it; whatever fails before that leaves the old file as it was.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, link, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Transform, type Writable } from 'node:stream'
import { usage } from './failure.ts'
import type { Io } from './io.ts'

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

const ifThere = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const tempBeside = (path: string): string => join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`)

const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Runs `write` with a stream into a file that was opened; closes it in any case. */
const into = async (handle: FileHandle, durably: boolean, write: (sink: Writable) => Promise<void>): Promise<void> => {
  const sink = handle.createWriteStream({ flush: durably })
  try {
    await write(sink)
  } finally {
    sink.destroy()
    await handle.close()
  }
}

/**
 * Writes a file whole or not at all. `write` ends the stream that it is given, or rejects. A file that exists keeps its mode, and a link
 * stays one; devices and FIFOs are written to as they are.
 */
export const replaceFile = async (path: string, write: (sink: Writable) => Promise<void>): Promise<void> => {
  const target = (await ifThere(realpath(path))) ?? path
  const old = await ifThere(stat(target))
  if (old !== undefined && !old.isFile()) return into(await open(target, 'w'), false, write)
  const temp = tempBeside(target)
  const handle = await open(temp, 'wx')
  try {
    if (old !== undefined) await handle.chmod(old.mode & 0o7777)
    await into(handle, true, write)
    await rename(temp, target)
    await syncDirectory(dirname(target))
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
}

/** Refuses bytes that a terminal would act upon. */
const forTerminal = (): Transform =>
  new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      const binary = chunk.some(byte => (byte < 32 && byte !== 9 && byte !== 10 && byte !== 13) || byte === 127)
      if (binary)
        done(usage('this is binary, and stdout is a terminal', 'Name a file with -o FILE, or insist with -o -.'))
      else done(null, chunk)
    },
  })

/**
 * Writes to the file that was named, or to stdout. `write` is given the sink, and what the bytes are to pass before: a terminal gets no
 * binary, unless `-` insists.
 */
export const writeOutput = async (
  path: string | undefined,
  io: Io,
  write: (sink: Writable, before: readonly Transform[]) => Promise<void>,
): Promise<void> => {
  if (path !== undefined && path !== '-') return replaceFile(path, sink => write(sink, []))
  return write(io.stdout, path === undefined && io.stdout.isTTY === true ? [forTerminal()] : [])
}

/** Creates a file, mode 0600, with this content, unless there is one: `false` then. Never half, whoever is faster. */
export const createOnce = async (path: string, content: string): Promise<boolean> => {
  if ((await ifThere(stat(path))) !== undefined) return false
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
