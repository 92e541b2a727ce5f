/**
 * Copies the files of an embedded key store that runs: all of them are written once, so what is listed is whole. What is noted to be made goes first:
 * then no key is noted whose files are missing in the copy. Only files of a key store are taken, so no root key that somebody put there.
 */
import { copyFile, open, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode, makeDirectory, openRegular, syncDirectory } from '../../files.ts'
import { corrupt } from './sealed-json.ts'

const part = '[A-Za-z0-9_-]{1,64}'
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const names = new RegExp(
  `^(?:keyring\\.json|made/${part}\\.${part}\\.${uuid}\\.json|keys/${part}/${part}/(?:${uuid}/\\d{6,}|aliases/[0-9a-f]{32})\\.json)$`,
)

const listed = async (directory: string): Promise<readonly string[]> => {
  try {
    return await readdir(directory, { recursive: true })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Copies the key store in one folder into another, durably; whether there is one. A file that is no regular one is `KeyringCorrupt`. */
export const copyKeyStore = async (from: string, to: string): Promise<boolean> => {
  const made = await listed(join(from, 'made'))
  const rest = await listed(join(from, 'keys'))
  const paths = ['keyring.json', ...made.map(name => `made/${name}`), ...rest.map(name => `keys/${name}`)]
  const folders = new Set<string>()
  let isThere = false
  for (const path of paths) {
    if (!names.test(path)) continue
    const target = join(to, path)
    const folder = dirname(target)
    if (!folders.has(folder)) await makeDirectory(folder)
    folders.add(folder)
    if (await copyOne(join(from, path), target)) isThere = true
    else if (path === 'keyring.json') return false
  }
  for (const folder of folders) await syncDirectory(folder)
  return isThere
}

/** `false` where the file is gone by now: an alias, or a key whose id was never told. */
const copyOne = async (source: string, target: string): Promise<boolean> => {
  try {
    const opened = await openRegular(source).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) throw error
      return corrupt(source, 'a symbolic link, or no regular file')
    })
    await opened.file.close()
    await copyFile(source, target)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
  const handle = await open(target, 'r+')
  try {
    await handle.chmod(0o600)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return true
}
