/** Seals one stream over a synchronous engine: header, then segments, each piece sealed as it arrives. */
import { concat, wipe } from '../bytes.ts'
import type { StreamKeys } from '../cipher/derive.ts'
import type { SyncEngine } from '../cipher/engine.ts'
import type { Suite } from '../cipher/suite.ts'
import type { Driver, Emit } from './driver.ts'
import { Framing } from './framing.ts'
import { lengthGuard } from './guard.ts'
import { nonces } from './nonce.ts'

/** What a sealing driver is made of. */
export interface SealParts {
  readonly suite: Suite
  /** Keys of the stream; the driver owns them and wipes them. */
  readonly keys: StreamKeys
  /** The stream's salt: drawn for this attempt, never used before. */
  readonly salt: Uint8Array
  /** Plaintext length if it was declared; another one is `LengthMismatch`. */
  readonly length?: number | undefined
}

/** A driver that seals over a synchronous engine. */
export const sealOver = (engine: SyncEngine, { suite, keys, salt, length }: SealParts): Driver => {
  const nonce = nonces(keys.baseNonce)
  const sealer = engine.sealer(suite.aead, keys.key)
  const guard = lengthGuard(suite, length)
  let emit: Emit | undefined
  const framing = new Framing(suite.segmentSize, false, {
    begin: index => sealer.begin(nonce(index)),
    piece: bytes => {
      const sealed = sealer.update(bytes)
      if (sealed !== undefined) emit?.(sealed)
    },
    end: () => {
      for (const sealed of sealer.final()) emit?.(sealed)
    },
  })
  let header: Uint8Array | undefined = concat(salt, keys.commitment)
  const start = (to: Emit) => {
    emit = to
    if (header !== undefined) to(header)
    header = undefined
  }
  return {
    write: (chunk, to) => {
      guard.add(chunk.length)
      start(to)
      framing.push(chunk)
    },
    end: to => {
      guard.end()
      start(to)
      framing.finish(true)
    },
    dispose: () => {
      sealer.dispose()
      framing.dispose()
      wipe(keys.key, keys.baseNonce)
    },
  }
}
