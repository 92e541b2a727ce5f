/**
 * Copies the files of an embedded key store that runs: all of them are whole when they get their names. What is noted to be made goes first:
 * then no key is noted whose files are missing in the copy. A revision may be emptied before it is copied, but then there is a newer one: so
 * where one was empty, what is new is copied too. Where the root key has begun or ended to change meanwhile, all is copied again. Only files of a
 * key store are taken, so no root key that somebody put there.
 */
import { copyFile, open, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode, makeDirectory, openRegular, syncDirectory } from '../../files.ts'
import { stampOf } from './files.ts'
import { headerFile } from './header.ts'
import { corrupt } from './sealed-json.ts'

const part = '[A-Za-z0-9_-]{1,64}'
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const names = new RegExp(
  `^(?:made/${part}\\.${part}\\.${uuid}\\.json|keys/${part}/${part}/(?:${uuid}/\\d{6,}|aliases/[0-9a-f]{32})\\.json)$`,
)

const listed = async (directory: string): Promise<readonly string[]> => {
  try {
    return await readdir(directory, { recursive: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

const pathsIn = async (from: string): Promise<readonly string[]> => {
  const made = await listed(join(from, 'made'))
  const rest = await listed(join(from, 'keys'))
  return [...made.map(name => `made/${name}`), ...rest.map(name => `keys/${name}`)].filter(path => names.test(path))
}

/** Copies the key store in one folder into another, durably; whether there is one. A file that is no regular one is `KeyringCorrupt`. */
export const copyKeyStore = async (from: string, to: string): Promise<boolean> => {
  for (;;) {
    const stamp = await stampOf(join(from, headerFile))
    if (!(await copyAll(from, to))) return false
    if (stamp === (await stampOf(join(from, headerFile)))) return true
    await rm(to, { recursive: true })
  }
}

const copyAll = async (from: string, to: string): Promise<boolean> => {
  const folders = new Set<string>()
  const take = async (path: string): Promise<number | undefined> => {
    const folder = dirname(join(to, path))
    if (!folders.has(folder)) await makeDirectory(folder)
    folders.add(folder)
    return copyOne(join(from, path), join(to, path))
  }
  if ((await take(headerFile)) === undefined) return false
  const taken = new Set<string>()
  let isMore: boolean
  do {
    isMore = false
    for (const path of await pathsIn(from)) {
      if (taken.has(path)) continue
      taken.add(path)
      if ((await take(path)) === 0) isMore = true
    }
  } while (isMore)
  for (const folder of folders) await syncDirectory(folder)
  return true
}

/** The size of the copy; nothing where the file is gone by now: an alias, or a key whose id was never told. */
const copyOne = async (source: string, target: string): Promise<number | undefined> => {
  try {
    const opened = await openRegular(source).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) throw error
      return corrupt(source, 'a symbolic link, or no regular file')
    })
    await opened.file.close()
    await copyFile(source, target)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  const handle = await open(target, 'r+')
  try {
    await handle.chmod(0o600)
    await handle.sync()
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}
