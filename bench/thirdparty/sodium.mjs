/** libsodium's secretstream through sodium-native: XChaCha20-Poly1305 in segments of 64 KiB, in C. */
import { Transform } from 'node:stream'
import sodium from 'sodium-native'

const {
  crypto_secretstream_xchacha20poly1305_ABYTES: extra,
  crypto_secretstream_xchacha20poly1305_HEADERBYTES: headerSize,
  crypto_secretstream_xchacha20poly1305_KEYBYTES: keySize,
  crypto_secretstream_xchacha20poly1305_STATEBYTES: stateSize,
  crypto_secretstream_xchacha20poly1305_TAG_FINAL: final,
  crypto_secretstream_xchacha20poly1305_TAG_MESSAGE: message,
} = sodium
const segment = 65_536
const key = Buffer.alloc(keySize)
sodium.crypto_secretstream_xchacha20poly1305_keygen(key)

/** Cuts a stream into pieces of `size` bytes; the last one may be shorter, and `each` is told that it is the last. */
const cut = (size, each) => {
  const held = Buffer.alloc(size)
  let filled = 0
  return new Transform({
    transform(chunk, _encoding, done) {
      try {
        let at = 0
        while (at < chunk.length) {
          if (filled === size) {
            each(this, held, false)
            filled = 0
          }
          if (filled === 0 && chunk.length - at > size) {
            each(this, chunk.subarray(at, at + size), false)
            at += size
            continue
          }
          const taken = Math.min(size - filled, chunk.length - at)
          held.set(chunk.subarray(at, at + taken), filled)
          filled += taken
          at += taken
        }
        done()
      } catch (error) {
        done(error)
      }
    },
    flush(done) {
      try {
        each(this, held.subarray(0, filled), true)
        done()
      } catch (error) {
        done(error)
      }
    },
  })
}

const seal = () => {
  const state = Buffer.alloc(stateSize)
  const header = Buffer.alloc(headerSize)
  sodium.crypto_secretstream_xchacha20poly1305_init_push(state, header, key)
  let begun = false
  return cut(segment, (stream, piece, last) => {
    if (!begun) stream.push(header)
    begun = true
    const out = Buffer.allocUnsafe(piece.length + extra)
    sodium.crypto_secretstream_xchacha20poly1305_push(state, out, piece, null, last ? final : message)
    stream.push(out)
  })
}

const open = () => {
  const state = Buffer.alloc(stateSize)
  const tag = Buffer.alloc(1)
  let header = Buffer.alloc(0)
  const body = cut(segment + extra, (stream, piece, last) => {
    const out = Buffer.allocUnsafe(piece.length - extra)
    sodium.crypto_secretstream_xchacha20poly1305_pull(state, out, tag, piece, null)
    if ((tag[0] === final) !== last) throw new Error('cut')
    stream.push(out)
  })
  const { _transform: transform } = body
  body._transform = function (chunk, encoding, done) {
    if (header.length === headerSize) return transform.call(this, chunk, encoding, done)
    const missing = headerSize - header.length
    header = Buffer.concat([header, chunk.subarray(0, missing)])
    if (header.length < headerSize) return done()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    return transform.call(this, chunk.subarray(missing), encoding, done)
  }
  return body
}

export const rivals = [{ package: 'sodium-native', settings: 'secretstream, 64 KiB', kind: 'node', seal, open }]
