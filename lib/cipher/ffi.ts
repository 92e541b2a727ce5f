/**
 * The engine over `node:ffi` (Node 26.1 and later, experimental there): the segments of {@link nodeEngine}, sealed and opened by the OpenSSL
 * inside the running binary with one cipher context a stream, output straight into place. Everything else is `node:crypto`'s. Off unless
 * it is asked for by name.
 *
 * Rules of memory, since native code is given addresses that JavaScript does not watch over:
 *
 * - What native code reads or writes is passed as a buffer, never as an address that we computed: Node borrows it for the call.
 * - Typed arrays of up to 64 bytes may lie on V8's moving heap. So keys, nonces, tags, lengths and pieces that small go through the slab,
 *   and every output lies in an allocation that is larger.
 * - Keys are in the slab while a context is set up, and wiped there before anything else happens. OpenSSL wipes a context that is freed.
 * - A context is freed by `dispose`, and by a finalizer where a stream was dropped without it.
 * - A call is over when it returns: nothing native keeps a buffer, and no other JavaScript runs meanwhile.
 */
/* c8 ignore start: test/cipher/ffi.test.ts runs this file on a Node that has node:ffi, which the one that counts coverage may lack */
import { wipe } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { SegmentOpener, SegmentSealer, SyncEngine } from './engine.ts'
import { nodeEngine } from './node.ts'
import { type Aead, keySize, nonceSize, tagSize } from './suite.ts'

// openssl/evp.h
const getTag = 0x10
const setTag = 0x11

const names = { AEAD_AES_256_GCM: 'AES-256-GCM', AEAD_CHACHA20_POLY1305: 'ChaCha20-Poly1305' } as const

/** Largest typed array that V8 may keep on its moving heap. */
const moving = 64

/** The functions of OpenSSL; `undefined` where this runtime cannot call them. */
const loadFunctions = () => {
  const ffi = process.getBuiltinModule('node:ffi')
  if (ffi === undefined) return undefined
  return new ffi.DynamicLibrary(null).getFunctions({
    EVP_CIPHER_fetch: { arguments: ['pointer', 'string', 'pointer'], return: 'pointer' },
    EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
    EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
    EVP_CIPHER_CTX_ctrl: { arguments: ['pointer', 'int32', 'int32', 'buffer'], return: 'int32' },
    EVP_CipherInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'buffer', 'buffer', 'int32'], return: 'int32' },
    EVP_CipherUpdate: { arguments: ['pointer', 'buffer', 'buffer', 'buffer', 'int32'], return: 'int32' },
    EVP_CipherFinal_ex: { arguments: ['pointer', 'buffer', 'buffer'], return: 'int32' },
    ERR_clear_error: { arguments: [], return: 'void' },
  })
}

type Functions = NonNullable<ReturnType<typeof loadFunctions>>

/** OpenSSL's cipher functions, and the slab that small values go through. */
class OpenSsl {
  readonly #functions: Functions
  readonly #ciphers: Readonly<Record<Aead, bigint>>
  readonly #slab = Buffer.allocUnsafeSlow(4 * moving)
  readonly #length = this.#slab.subarray(0, 8)
  readonly #nonce = this.#slab.subarray(16, 16 + nonceSize)
  readonly #tag = this.#slab.subarray(32, 32 + tagSize)
  readonly #key = this.#slab.subarray(moving, moving + keySize)
  readonly #small = this.#slab.subarray(2 * moving, 3 * moving)
  readonly #dropped: FinalizationRegistry<bigint>

  constructor(functions: Functions) {
    this.#functions = functions
    const fetch = (aead: Aead): bigint => functions.EVP_CIPHER_fetch(0n, names[aead], 0n)
    this.#ciphers = {
      AEAD_AES_256_GCM: fetch('AEAD_AES_256_GCM'),
      AEAD_CHACHA20_POLY1305: fetch('AEAD_CHACHA20_POLY1305'),
    }
    this.#dropped = new FinalizationRegistry(context => functions.EVP_CIPHER_CTX_free(context))
  }

  supports(aead: Aead): boolean {
    return this.#ciphers[aead] !== 0n
  }

  /** A context with its key set up; `owner` is what keeps it, and frees it with {@link OpenSsl.free}. */
  open(aead: Aead, key: Uint8Array, encrypt: boolean, owner: object): bigint {
    const context = this.#functions.EVP_CIPHER_CTX_new()
    if (context === 0n) throw failed()
    this.#dropped.register(owner, context, owner)
    this.#key.set(key)
    try {
      this.#check(this.#functions.EVP_CipherInit_ex(context, this.#ciphers[aead], 0n, this.#key, null, encrypt ? 1 : 0))
    } catch (error) {
      this.free(context, owner)
      throw error
    } finally {
      wipe(this.#key)
    }
    return context
  }

  free(context: bigint, owner: object): void {
    this.#dropped.unregister(owner)
    this.#functions.EVP_CIPHER_CTX_free(context)
  }

  begin(context: bigint, nonce: Uint8Array): void {
    this.#nonce.set(nonce)
    this.#check(this.#functions.EVP_CipherInit_ex(context, 0n, 0n, null, this.#nonce, -1))
  }

  /** A piece sealed or opened, with `room` bytes behind it that were not written. */
  update(context: bigint, piece: Uint8Array, room: number): Uint8Array {
    const size = piece.length
    const out = Buffer.allocUnsafeSlow(Math.max(size + room, 2 * moving)).subarray(0, size + room)
    let from = piece
    if (size <= moving) {
      this.#small.set(piece)
      from = this.#small
    }
    this.#check(this.#functions.EVP_CipherUpdate(context, out, this.#length, from, size))
    if (from === this.#small) wipe(from)
    return out
  }

  /** Ends a message that is being sealed; its tag goes to the end of `out`. */
  seal(context: bigint, out: Uint8Array): void {
    this.#check(this.#functions.EVP_CipherFinal_ex(context, this.#tag, this.#length))
    this.#check(this.#functions.EVP_CIPHER_CTX_ctrl(context, getTag, tagSize, this.#tag))
    out.set(this.#tag, out.length - tagSize)
  }

  /** Ends a message that is being opened: whether its tag holds. */
  holds(context: bigint, tag: Uint8Array): boolean {
    if (tag.length !== tagSize) return false
    this.#tag.set(tag)
    this.#check(this.#functions.EVP_CIPHER_CTX_ctrl(context, setTag, tagSize, this.#tag))
    const holds = this.#functions.EVP_CipherFinal_ex(context, this.#small, this.#length) === 1
    if (!holds) this.#functions.ERR_clear_error()
    return holds
  }

  #check(result: number): void {
    if (result === 1) return
    this.#functions.ERR_clear_error()
    throw failed()
  }
}

const failed = (): SseError => new SseError('InternalError', { cause: new Error('a call to OpenSSL failed') })

const notBegun = (): never => {
  throw new TypeError('begin a segment first')
}

const sealerOver = (ssl: OpenSsl, aead: Aead, key: Uint8Array): SegmentSealer => {
  let begun = false
  // The last piece, until it is known whether the tag follows: there is room for it.
  let held: Uint8Array | undefined
  let context: bigint | undefined
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
      held = ssl.update(context, piece, tagSize)
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

const openerOver = (ssl: OpenSsl, aead: Aead, key: Uint8Array): SegmentOpener => {
  let begun = false
  let held: Uint8Array[] = []
  let context: bigint | undefined
  const drop = (): void => {
    begun = false
    wipe(...held)
    held = []
  }
  const opener: SegmentOpener = {
    begin: nonce => {
      drop()
      ssl.begin(context ?? notBegun(), nonce)
      begun = true
    },
    update: piece => {
      if (context === undefined || !begun) return notBegun()
      if (piece.length > 0) held.push(ssl.update(context, piece, 0))
    },
    final: tag => {
      if (context === undefined || !begun) return notBegun()
      if (!ssl.holds(context, tag)) {
        drop()
        throw new SseError('NotAuthentic')
      }
      const plaintext = held
      begun = false
      held = []
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

let engine: SyncEngine | undefined

/**
 * The engine over `node:ffi`. Throws `SseError` `EngineUnavailable` where this runtime has none. Use `pickEngine` or the option
 * `engine: 'ffi'` of `createSse`, which hold it to known answers first.
 *
 * {@includeCode ../../test/examples/reference.test.ts#engine-ffi}
 */
export const ffiEngine = (): SyncEngine => {
  if (engine !== undefined) return engine
  let functions: Functions | undefined
  let cause: unknown
  try {
    functions = loadFunctions()
  } catch (error) {
    cause = error
  }
  if (functions === undefined) throw new SseError('EngineUnavailable', { cause })
  const ssl = new OpenSsl(functions)
  engine = {
    ...nodeEngine,
    name: 'ffi',
    supports: aead => ssl.supports(aead),
    sealer: (aead, key) => sealerOver(ssl, aead, key),
    opener: (aead, key) => openerOver(ssl, aead, key),
  }
  return engine
}
/* c8 ignore stop */
