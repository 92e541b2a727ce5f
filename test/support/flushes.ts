/** What a power cut would leave: of each folder the names that it had when it was last flushed; of files, which were flushed. */
import * as fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, join, basename } from 'node:path'

/** What was flushed by this process since {@link watchFlushes}. */
export interface Flushes {
  /** Names in a folder when it was flushed last, by its path. */
  readonly folders: Map<string, ReadonlySet<string>>
  /** Inodes of files. */
  readonly files: ReadonlySet<number>
  /** Paths under a folder that would not be there: names that are not flushed, and with `contents` files that were never flushed. */
  lost(above: string, contents?: boolean): readonly string[]
}

/** Watches the flushes of this process, also those of modules that have taken their functions already. Import what is watched after it. */
export const watchFlushes = async (): Promise<Flushes> => {
  const folders = new Map<string, ReadonlySet<string>>()
  const files = new Set<number>()
  const note = (fd: number): void => {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
    const found = fs.fstatSync(fd)
    if (found.isDirectory()) folders.set(path, new Set(fs.readdirSync(path)))
    else files.add(found.ino)
  }
  const { default: real } = await import('node:fs')
  const { fsyncSync } = real
  real.fsyncSync = fd => {
    fsyncSync(fd)
    note(fd)
  }
  syncBuiltinESMExports()
  const handle = await real.promises.open('/', 'r')
  const handles: { sync(this: fs.promises.FileHandle): Promise<void> } = Object.getPrototypeOf(handle)
  await handle.close()
  const { sync } = handles
  handles.sync = async function () {
    await sync.call(this)
    note(this.fd)
  }
  const lost = (above: string, contents = false): readonly string[] =>
    fs
      .readdirSync(above, { recursive: true, encoding: 'utf8' })
      .map(name => join(above, name))
      .filter(path => {
        if (folders.get(dirname(path))?.has(basename(path)) !== true) return true
        const stat = fs.statSync(path)
        return contents && stat.isFile() && !files.has(stat.ino)
      })
  return { folders, files, lost }
}
