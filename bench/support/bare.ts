/**
 * The cipher alone: the OpenSSL inside this Node, called through koffi in a bare loop that does nothing else, 64 KiB at a time. It is the
 * floor under everything that calls OpenSSL from JavaScript. One context, one nonce: no use but to measure.
 */
import { createCipheriv, randomBytes } from 'node:crypto'
import { PassThrough } from 'node:stream'
import type { Bench, Contestant } from '../harness.ts'
import { chunkSize, nowhere, plaintext, through } from './streams.ts'

const tagSize = 16

/** The bare loop, by direction. */
export interface BareLoop {
  /** Into the same memory each time. */
  readonly again: Contestant
  /** Into new memory for each 64 KiB. */
  readonly fresh: Contestant
  /** A pipeline through a PassThrough, then the bare loop into new memory over as many bytes: a stream that costs nothing but the cipher. */
  readonly piped: Contestant
}

/** Both directions; `undefined`, with a note, where koffi is missing. */
export const bareLoops = async (
  bench: Bench,
  size: number,
): Promise<{ readonly seal: BareLoop; readonly open: BareLoop } | undefined> => {
  const koffi = await import('koffi').catch(() => undefined)
  if (koffi === undefined) {
    bench.note('left out: the cipher alone: koffi is not installed')
    return undefined
  }
  const openssl = koffi.load(null)
  const pointer = 'void *'
  const fetch = openssl.func('EVP_CIPHER_fetch', pointer, [pointer, 'str', pointer])
  const create = openssl.func('EVP_CIPHER_CTX_new', pointer, [])
  const init = openssl.func('EVP_CipherInit_ex', 'int', [pointer, pointer, pointer, pointer, pointer, 'int'])
  const update = openssl.func('EVP_CipherUpdate', 'int', [pointer, pointer, pointer, pointer, 'int'])
  const final = openssl.func('EVP_CipherFinal_ex', 'int', [pointer, pointer, pointer])
  const control = openssl.func('EVP_CIPHER_CTX_ctrl', 'int', [pointer, 'int', 'int', pointer])
  const slab = Buffer.allocUnsafeSlow(4096)
  const [key, nonce, tag, length] = [0, 64, 128, 192].map(at => slab.subarray(at, at + 32))
  if (key === undefined || nonce === undefined || tag === undefined || length === undefined) throw new Error('no slab')
  key.set(randomBytes(32))
  nonce.set(randomBytes(12))
  const contextOf = (encrypt: number): unknown => {
    const context: unknown = create()
    init(context, fetch(null, 'AES-256-GCM', null), null, key, null, encrypt)
    return context
  }
  const sealing = contextOf(1)
  const opening = contextOf(0)
  const memory = Buffer.allocUnsafeSlow(chunkSize + tagSize)
  const chunks = [...plaintext(Math.min(size, 16 * chunkSize))]
  const tags = chunks.map(chunk => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce.subarray(0, 12))
    const bytes = cipher.update(chunk)
    cipher.final()
    return { bytes, tag: cipher.getAuthTag() }
  })
  const sealOne = (chunk: Uint8Array, out: Uint8Array): boolean => {
    init(sealing, null, null, null, nonce, -1)
    update(sealing, out, length, chunk, chunk.length)
    return final(sealing, tag, length) === 1 && control(sealing, 0x10, tagSize, tag) === 1
  }
  const openOne = (sealed: (typeof tags)[number], out: Uint8Array): boolean => {
    init(opening, null, null, null, nonce, -1)
    update(opening, out, length, sealed.bytes, sealed.bytes.length)
    tag.set(sealed.tag)
    control(opening, 0x11, tagSize, tag)
    return final(opening, tag, length) === 1
  }
  const loop = (direction: 'seal' | 'open', next: () => Uint8Array): void => {
    for (let at = 0, i = 0; at < size; at += chunkSize, i = (i + 1) % chunks.length) {
      const [plain, sealed] = [chunks[i], tags[i]]
      if (plain === undefined || sealed === undefined) throw new Error('no chunk')
      if (!(direction === 'seal' ? sealOne(plain, next()) : openOne(sealed, next()))) throw new Error('not authentic')
    }
  }
  const renewed = () => Buffer.allocUnsafeSlow(chunkSize + tagSize)
  const validate = async () => {
    const [plain, sealed] = [chunks[0], tags[0]]
    if (plain === undefined || sealed === undefined) throw new Error('no chunk')
    sealOne(plain, memory)
    const right = Buffer.compare(memory.subarray(0, plain.length), sealed.bytes) === 0
    if (!right || Buffer.compare(tag.subarray(0, tagSize), sealed.tag) !== 0) throw new Error('sealed to other bytes')
    openOne(sealed, memory)
    if (Buffer.compare(memory.subarray(0, plain.length), plain) !== 0) throw new Error('opened to other bytes')
  }
  const of = (direction: 'seal' | 'open'): BareLoop => {
    const labels = { direction, size, engine: 'koffi', validate }
    const run = (next: () => Uint8Array) => async () => {
      loop(direction, next)
      return size
    }
    return {
      again: { ...labels, name: 'the cipher alone, memory used again', run: run(() => memory) },
      fresh: { ...labels, name: 'the cipher alone, new memory', run: run(renewed) },
      piped: {
        ...labels,
        name: 'a PassThrough, and the cipher alone with new memory',
        run: async () => {
          await through(plaintext(size), new PassThrough(), nowhere)
          loop(direction, renewed)
          return size
        },
      },
    }
  }
  return { seal: of('seal'), open: of('open') }
}
