/**
 * Looks at the file of the index before LMDB maps it into memory. LMDB trusts it: a page behind the end of the file ends the process with
 * SIGBUS, a page number that is none with SIGSEGV. Found here: a file that was cut, and first pages that are damaged. Not found: flipped
 * bits in later pages.
 *
 *   page 0, 1     0  number  8  transaction  18  flags (8)  24  beefc0de  28  version (2)  48  size of a page
 *                 48, 96  trees of free pages and of tables, 48 bytes: 40  root        144  last page  152  transaction
 *   branch, leaf  0  number  18  flags (1, 2)  20  two for each node  24  where each node is, from 24 on, two bytes each
 *   node          0  low 16 bits, 16 bits, high 16 bits of a page number (branch);  4  flags  6  bytes of the key  8  key, value (leaf)
 *                 flag 1: the value is the number of its first page, its length stands at 0;  flag 2: the value is a tree of a table
 *
 * Numbers are little-endian, those of pages and transactions of 64 bits. All ones is the root of an empty tree.
 */
import { lstat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { SseError } from '../../errors.ts'
import { hasCode, notRegular, openRegular } from '../../files.ts'

const none = 0xffff_ffff_ffff_ffffn
const metaSize = 168
const headerSize = 24

// Several commits may change the file while it is looked at.
const attempts = 10

const damaged = (what: string): SseError => {
  const message = `The file of the index is damaged: ${what}. It was not opened. Restore the store from a backup.`
  return new SseError('StoreFailed', { message })
}

interface Meta {
  readonly pageSize: number
  readonly lastPage: bigint
  readonly transaction: bigint
  /** Of free pages, and of tables. */
  readonly roots: readonly [bigint, bigint]
}

const parseMeta = (page: Buffer): Meta => {
  const isMeta = (page.readUInt16LE(18) & 8) !== 0 && page.readUInt32LE(24) === 0xbeefc0de
  if (!isMeta) throw damaged('one of its first two pages is not what LMDB writes there')
  const version = page.readUInt32LE(28) & 0xffff
  if (version !== 2) throw damaged(`it has version ${version} of LMDB's format, not 2`)
  return {
    pageSize: page.readUInt32LE(48),
    lastPage: page.readBigUInt64LE(144),
    transaction: page.readBigUInt64LE(152),
    roots: [page.readBigUInt64LE(88), page.readBigUInt64LE(136)],
  }
}

const isPageSize = (size: number): boolean => size >= 512 && size <= 65_536 && (size & (size - 1)) === 0

const readAt = async (file: FileHandle, at: number, size: number): Promise<Buffer> => {
  const page = Buffer.alloc(size)
  const { bytesRead } = await file.read(page, 0, size, at)
  if (bytesRead !== size) throw damaged('it ends too early')
  return page
}

/** The newer of the two first pages. */
const readMeta = async (file: FileHandle): Promise<Meta> => {
  const first = parseMeta(await readAt(file, 0, metaSize))
  const { pageSize } = first
  if (!isPageSize(pageSize)) throw damaged(`its pages cannot have ${pageSize} bytes`)
  const second = parseMeta(await readAt(file, pageSize, metaSize))
  if (second.pageSize !== pageSize) throw damaged('its first two pages contradict each other')
  for (const { lastPage, roots } of [first, second]) {
    const isOutside = roots.some(root => root !== none && (root < 2n || root > lastPage))
    if (lastPage < 1n || isOutside) throw damaged('its first pages name a page that it cannot have')
  }
  return first.transaction > second.transaction ? first : second
}

/** What a page refers to. */
interface References {
  readonly children: readonly bigint[]
  /** Roots of the trees of tables. */
  readonly tables: readonly bigint[]
  /** Behind the last page of its largest values. */
  readonly end: bigint
}

const parsePage = (page: Buffer, number: bigint): References => {
  const flags = page.readUInt16LE(18) & 3
  if (page.readBigUInt64LE(0) !== number || flags === 0 || flags === 3) throw damaged(`page ${number} is another one`)
  const children: bigint[] = []
  const tables: bigint[] = []
  let end = 0n
  for (let i = 0; i < page.readUInt16LE(20) >> 1; i++) {
    const at = headerSize + page.readUInt16LE(headerSize + 2 * i)
    const low = page.readUInt32LE(at)
    const high = page.readUInt16LE(at + 4)
    const value = at + 8 + page.readUInt16LE(at + 6)
    if (flags === 1) children.push((BigInt(high) << 32n) | BigInt(low))
    else if ((high & 1) !== 0) {
      const last = page.readBigUInt64LE(value) + BigInt(Math.ceil((headerSize + low) / page.length))
      if (last > end) end = last
    } else if ((high & 2) !== 0) tables.push(page.readBigUInt64LE(value + 40))
  }
  return { children, tables, end }
}

/** Reads the trees; those of the tables below their roots too where `all`. */
const checkTrees = async (file: FileHandle, { pageSize, roots }: Meta, size: number, all: boolean): Promise<void> => {
  const pages = BigInt(Math.floor(size / pageSize))
  const todo = roots.map(number => ({ number, below: true }))
  for (let count = 0n, next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { number, below } = next
    if (number === none) continue
    if (number >= pages || ++count > pages) throw damaged('it is shorter than it was')
    const { children, tables, end } = parsePage(await readAt(file, Number(number) * pageSize, pageSize), number)
    if (end > pages) throw damaged('it is shorter than it was')
    if (below) todo.push(...children.map(child => ({ number: child, below })))
    todo.push(...tables.map(table => ({ number: table, below: all })))
  }
}

const checkOnce = async (file: FileHandle): Promise<void> => {
  const meta = await readMeta(file)
  const { size } = await file.stat()
  // LMDB does not write last pages that nothing refers to: only where pages are missing it takes a look at all to know.
  const isShort = BigInt(size) < (meta.lastPage + 1n) * BigInt(meta.pageSize)
  try {
    await checkTrees(file, meta, size, isShort)
  } catch (error) {
    throw error instanceof RangeError ? damaged('one of its pages cannot be read') : error
  }
}

const checkFile = async (file: FileHandle): Promise<void> => {
  const firstPages = async (): Promise<Buffer> => {
    const pages = Buffer.alloc(2 * 65_536)
    await file.read(pages, 0, pages.length, 0)
    return pages
  }
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const before = await firstPages()
    try {
      return await checkOnce(file)
    } catch (error) {
      if (before.equals(await firstPages())) throw error
    }
  }
  // Another process writes all the time: it has opened the file.
}

/** Checks the files of the index in this folder, where there are any. `StoreFailed` where they are damaged, else the system's error. */
export const checkIndexFiles = async (folder: string): Promise<void> => {
  const data = join(folder, 'data.mdb')
  for (const path of [data, join(folder, 'lock.mdb')]) {
    const found = await lstat(path).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error
    })
    if (found !== undefined && !found.isFile()) throw notRegular(path)
    if (path === data && (found === undefined || found.size === 0)) return
  }
  const { file } = await openRegular(data)
  try {
    await checkFile(file)
  } finally {
    await file.close()
  }
}
