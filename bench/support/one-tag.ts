/**
 * What people write by hand: one `createCipheriv` over the whole body. GCM with one tag at the very end releases plaintext before it was
 * verified when it decrypts; CTR verifies nothing.
 */
import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  type DecipherGCM,
  type Decipheriv,
  randomBytes,
} from 'node:crypto'
import type { Contestant } from '../harness.ts'
import { assertPlaintext, chunksOf, gather, nowhere, plaintext, repeated, through } from './streams.ts'

const gcm: CipherGCMTypes = 'aes-256-gcm'

/** Sealing and opening by hand. */
export interface ByHand {
  readonly seal: readonly Contestant[]
  readonly open: readonly Contestant[]
}

/** By hand, with bodies of this size, one after the other; with or without CTR. */
export const byHand = async (size: number, times: number, ctr = true): Promise<ByHand> => {
  const key = randomBytes(32)
  const [nonce, counter] = [randomBytes(12), randomBytes(16)]
  const oneTag = createCipheriv(gcm, key, nonce)
  const withTag = await gather(sink => through(plaintext(size), oneTag, sink))
  const tag = oneTag.getAuthTag()
  const withoutTag = await gather(sink => through(plaintext(size), createCipheriv('aes-256-ctr', key, counter), sink))
  const make = (
    cipher: string,
    encrypt: () => ReturnType<typeof createCipheriv>,
    stored: Uint8Array,
    decrypt: () => Decipheriv | DecipherGCM,
  ): readonly [Contestant, Contestant] => {
    const validate = () => assertPlaintext(size, sink => through(chunksOf(stored), decrypt(), sink))
    const labels = { size, engine: 'node:crypto', validate }
    return [
      {
        ...labels,
        name: `createCipheriv ${cipher}`,
        direction: 'seal',
        run: repeated(times, size, () => through(plaintext(size), encrypt(), nowhere)),
      },
      {
        ...labels,
        name: `createDecipheriv ${cipher}`,
        direction: 'open',
        run: repeated(times, size, () => through(chunksOf(stored), decrypt(), nowhere)),
      },
    ]
  }
  const decipher = () => createDecipheriv(gcm, key, nonce, { authTagLength: 16 }).setAuthTag(tag)
  const all = [
    make('GCM, one tag', () => createCipheriv(gcm, key, nonce), withTag, decipher),
    make(
      'CTR, no tag',
      () => createCipheriv('aes-256-ctr', key, counter),
      withoutTag,
      () => createDecipheriv('aes-256-ctr', key, counter),
    ),
  ]
  const chosen = ctr ? all : all.slice(0, 1)
  return { seal: chosen.map(([seal]) => seal), open: chosen.map(([, open]) => open) }
}
