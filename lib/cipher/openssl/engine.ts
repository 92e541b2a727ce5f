/**
 * The engine over OpenSSL's own functions: segments with one cipher context a stream, output straight into place; messages, wraps and
 * hashes without an object for each. What is larger than the messages of this product is `node:crypto`'s.
 */
import { wipe } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import type { SegmentOpener, SegmentSealer, SyncEngine } from '../engine.ts'
import type { SegmentMemory } from '../memory.ts'
import { nodeEngine } from '../node.ts'
import { type Aead, keySize, tagSize } from '../suite.ts'
import type { Address, Calls } from './calls.ts'
import { messageSize, OpenSsl } from './native.ts'

const notAuthentic = (): never => {
  throw new SseError('NotAuthentic')
}

const failed = (): never => {
  throw new SseError('InternalError', { cause: new Error('OpenSSL wraps no keys') })
}

const notBegun = (): never => {
  throw new TypeError('begin a segment first')
}

const sealerOver = (ssl: OpenSsl, aead: Aead, key: Uint8Array, memory?: SegmentMemory): SegmentSealer => {
  let begun = false
  // The last piece, until it is known whether the tag follows: there is room for it.
  let held: Uint8Array | undefined
  let context: Address | undefined
  const sealer: SegmentSealer = {
    begin: nonce => {
      begun = false
      held = undefined
      ssl.begin(context ?? notBegun(), nonce)
      begun = true
    },
    update: piece => {
      if (context === undefined || !begun) return notBegun()
      if (piece.length === 0) return undefined
      const ready = held
      const size = piece.length + tagSize
      held = memory?.take(size) ?? ssl.room(size)
      ssl.update(context, piece, held)
      if (ready === undefined) return undefined
      ready.fill(0, ready.length - tagSize)
      return ready.subarray(0, ready.length - tagSize)
    },
    final: () => {
      if (context === undefined || !begun) return notBegun()
      const last = held ?? Buffer.alloc(tagSize)
      ssl.seal(context, last)
      begun = false
      held = undefined
      return [last]
    },
    dispose: () => {
      if (context !== undefined) ssl.free(context, sealer)
      context = undefined
      begun = false
      held = undefined
    },
  }
  context = ssl.open(aead, key, true, sealer)
  return sealer
}

const openerOver = (ssl: OpenSsl, aead: Aead, key: Uint8Array, memory?: SegmentMemory): SegmentOpener => {
  let begun = false
  // Plaintext whose tag was not checked: what is full, then room that has some, up to `fill`.
  let full: Uint8Array[] = []
  let room: Uint8Array | undefined
  let fill = 0
  let expected = 0
  let context: Address | undefined
  const held = (): Uint8Array[] => {
    if (room === undefined || fill === 0) return full
    return [...full, fill === room.length ? room : room.subarray(0, fill)]
  }
  const forget = (): void => {
    begun = false
    full = []
    room = undefined
    fill = 0
  }
  const drop = (): void => {
    wipe(...held())
    forget()
  }
  const opener: SegmentOpener = {
    begin: (nonce, size = 0) => {
      drop()
      ssl.begin(context ?? notBegun(), nonce)
      begun = true
      expected = size
    },
    update: piece => {
      if (context === undefined || !begun) return notBegun()
      if (piece.length === 0) return
      if (room === undefined || room.length - fill < piece.length) {
        full = held()
        const size = Math.max(piece.length, expected)
        room = memory?.take(size) ?? ssl.room(size)
        expected = 0
        fill = 0
      }
      const out = fill === 0 ? room : room.subarray(fill)
      fill += piece.length
      ssl.update(context, piece, out)
    },
    final: tag => {
      if (context === undefined || !begun) return notBegun()
      if (!ssl.holds(context, tag)) {
        drop()
        throw new SseError('NotAuthentic')
      }
      const plaintext = held()
      forget()
      return plaintext
    },
    dispose: () => {
      if (context !== undefined) ssl.free(context, opener)
      context = undefined
      drop()
    },
  }
  context = ssl.open(aead, key, false, opener)
  return opener
}

const fits = (data: readonly Uint8Array[]): boolean => {
  let size = 0
  for (const piece of data) size += piece.length
  return size <= messageSize
}

const macOver =
  (ssl: OpenSsl, hash: 'sha256' | 'sha512', others: SyncEngine['hmacSha256']): SyncEngine['hmacSha256'] =>
  (key, ...data) =>
    key.length <= keySize && fits(data) ? ssl.hmac(hash, key, data) : others(key, ...data)

/** The engine over these calls. It is for {@link selfTest} to say whether they give right answers. */
export const engineOver = (calls: Calls): SyncEngine => {
  const ssl = new OpenSsl(calls)
  return {
    name: 'openssl',
    synchronous: true,
    supports: aead => ssl.supports(aead),
    randomKey: () => ssl.randomKey(),
    hmacSha512: macOver(ssl, 'sha512', nodeEngine.hmacSha512),
    hmacSha256: macOver(ssl, 'sha256', nodeEngine.hmacSha256),
    sha256: (...data) => (fits(data) ? ssl.hash('sha256', data) : nodeEngine.sha256(...data)),
    wrap: (kek, key) => ssl.wrap(kek, key, true) ?? failed(),
    unwrap: (kek, wrapped) => {
      if (wrapped.length !== keySize + 8) return notAuthentic()
      return ssl.wrap(kek, wrapped, false) ?? notAuthentic()
    },
    seal: (aead, key, nonce, plaintext, aad) =>
      plaintext.length <= messageSize && aad.length <= messageSize
        ? ssl.sealMessage(aead, key, nonce, plaintext, aad)
        : nodeEngine.seal(aead, key, nonce, plaintext, aad),
    open: (aead, key, nonce, sealed, aad) =>
      sealed.length <= messageSize && aad.length <= messageSize
        ? (ssl.openMessage(aead, key, nonce, sealed, aad) ?? notAuthentic())
        : nodeEngine.open(aead, key, nonce, sealed, aad),
    sealer: (aead, key, memory) => sealerOver(ssl, aead, key, memory),
    opener: (aead, key, memory) => openerOver(ssl, aead, key, memory),
  }
}
