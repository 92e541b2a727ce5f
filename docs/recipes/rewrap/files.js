import { createReadStream, createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { randomAccess } from 'sse-kms-streams'

/** Puts what comes where a file lies, once all of it is on the disk: who reads gets the old file or the new one. */
const replace = async (/** @type {string} */ path, /** @type {AsyncIterable<Uint8Array>} */ source) => {
  const part = `${path}.part`
  try {
    await pipeline(source, createWriteStream(part, { flush: true }))
    await rename(part, path)
  } finally {
    await rm(part, { force: true })
  }
}

/**
 * Copies a sealed file under another context, or, with the same path twice, moves it to another key or the key's newest version. Its body is copied as
 * it is, and not decrypted.
 */
export const rewrap = async (
  /** @type {import('sse-kms-streams').Sse} */ sse,
  /** @type {string} */ from,
  /** @type {string} */ to,
  /** @type {import('sse-kms-streams').CopyOptions} */ options,
) => {
  const file = await open(from)
  try {
    const { prefix, streams } = await sse.rewrapFile(await randomAccess(file), options)
    const moved = async function* () {
      yield prefix
      yield* file.createReadStream({ ...streams, autoClose: false })
    }
    await replace(to, moved())
  } finally {
    await file.close()
  }
}

/** Seals a plain file in its place. It stays plain until the sealed one is whole. */
export const sealInPlace = async (
  /** @type {import('sse-kms-streams').Sse} */ sse,
  /** @type {string} */ path,
  /** @type {import('sse-kms-streams').EncryptOptions} */ options,
) => {
  const put = await sse.encrypt({ ...options, file: true })
  await replace(path, put.pieces(createReadStream(path)))
}
