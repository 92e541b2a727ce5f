/**
 * OpenSSL under the rules of memory. Native code is given addresses that JavaScript does not watch over, so:
 *
 * - What it reads or writes is passed as a buffer, never as an address that we computed: the call layer borrows it for the call.
 * - Typed arrays of up to 64 bytes may lie on V8's moving heap. So keys, nonces, tags, lengths and pieces that small go through the slab,
 *   and every output lies in an allocation that is larger.
 * - Sizes are checked before a call: what native code is told of a buffer is never more than it has.
 * - Secrets are in the slab while a call needs them, and wiped there before anything else happens. OpenSSL wipes a context that is freed or
 *   reset.
 * - A context of a stream is freed by `free`, and by a finalizer where a stream was dropped without it. A finalizer makes every collection
 *   slower, so a stream gets one only if it outlives its turn of the event loop.
 * - A call is over when it returns: nothing native keeps a buffer, and no other JavaScript runs meanwhile.
 */
import { copy, wipe } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { type Aead, keySize, nonceSize, tagSize } from '../suite.ts'
import type { Address, Calls } from './calls.ts'

// openssl/evp.h
const getTag = 0x10
const setTag = 0x11

const names = { AEAD_AES_256_GCM: 'AES-256-GCM', AEAD_CHACHA20_POLY1305: 'ChaCha20-Poly1305' } as const

/** Largest typed array that V8 may keep on its moving heap. */
const moving = 64

/** The most bytes of a message, of its associated data, or of what is hashed, that {@link OpenSsl} takes in one call. */
export const messageSize = 4096

/** A hash: its method, bytes of its block, and where in the slab its result lies. */
interface Hash {
  readonly method: Address
  readonly block: number
  readonly result: Uint8Array
}

const failed = (): SseError => new SseError('InternalError', { cause: new Error('a call to OpenSSL failed') })

const assertSize = (bytes: Uint8Array, size: number, what: string): void => {
  if (bytes.length !== size) throw new RangeError(`a ${what} must have ${size} bytes, not ${bytes.length}`)
}

/** OpenSSL's functions, and the slab that small values go through. */
export class OpenSsl {
  readonly #calls: Calls
  readonly #ciphers: Readonly<Record<Aead, Address>>
  readonly #keyWrap: Address
  readonly #hashes: Readonly<Record<'sha256' | 'sha512', Hash>>
  readonly #slab = Buffer.allocUnsafeSlow(4 * moving + 3 * (messageSize + 4 * moving))
  readonly #length = this.#slab.subarray(0, 8)
  readonly #nonce = this.#slab.subarray(16, 16 + nonceSize)
  readonly #tag = this.#slab.subarray(32, 32 + tagSize)
  readonly #key = this.#slab.subarray(moving, moving + keySize)
  readonly #small = this.#slab.subarray(2 * moving, 3 * moving)
  readonly #from = this.#area(0)
  readonly #to = this.#area(1)
  readonly #beside = this.#area(2)
  /** For messages of one call; holds no key between them. */
  readonly #context: Address
  readonly #dropped: FinalizationRegistry<Address>
  /** Streams of this turn, which have no finalizer yet. */
  readonly #young = new Map<object, Address>()
  #isArmed = false

  constructor(calls: Calls) {
    this.#calls = calls
    this.#slab.fill(0)
    this.#ciphers = {
      AEAD_AES_256_GCM: calls.fetchCipher(names.AEAD_AES_256_GCM),
      AEAD_CHACHA20_POLY1305: calls.fetchCipher(names.AEAD_CHACHA20_POLY1305),
    }
    this.#keyWrap = calls.fetchCipher('AES-256-WRAP')
    this.#hashes = {
      sha256: { method: calls.fetchDigest('SHA256'), block: 64, result: this.#to.subarray(0, 32) },
      sha512: { method: calls.fetchDigest('SHA512'), block: 128, result: this.#to.subarray(0, 64) },
    }
    this.#context = calls.EVP_CIPHER_CTX_new()
    const { sha256, sha512 } = this.#hashes
    if ([this.#keyWrap, sha256.method, sha512.method, this.#context].includes(0n)) throw failed()
    this.#dropped = new FinalizationRegistry(context => calls.EVP_CIPHER_CTX_free(context))
  }

  #area(index: number): Buffer {
    const size = messageSize + 4 * moving
    return this.#slab.subarray(4 * moving + index * size, 4 * moving + (index + 1) * size)
  }

  supports(aead: Aead): boolean {
    return this.#ciphers[aead] !== 0n
  }

  /** A context with its key set up; `owner` is what keeps it, and frees it with {@link OpenSsl.free}. */
  open(aead: Aead, key: Uint8Array, encrypt: boolean, owner: object): Address {
    const context = this.#calls.EVP_CIPHER_CTX_new()
    if (context === 0n) throw failed()
    this.#young.set(owner, context)
    // An immediate that is waited for would keep the loop from waiting for the disk, and the store from gathering commits.
    if (!this.#isArmed) setImmediate(() => this.#settle()).unref()
    this.#isArmed = true
    try {
      this.#begin(context, this.#ciphers[aead], key, undefined, encrypt)
    } catch (error) {
      this.free(context, owner)
      throw error
    }
    return context
  }

  free(context: Address, owner: object): void {
    if (!this.#young.delete(owner)) this.#dropped.unregister(owner)
    this.#calls.EVP_CIPHER_CTX_free(context)
  }

  #settle(): void {
    this.#isArmed = false
    for (const [owner, context] of this.#young) this.#dropped.register(owner, context, owner)
    this.#young.clear()
  }

  /** A context's next message begins. */
  begin(context: Address, nonce: Uint8Array): void {
    assertSize(nonce, nonceSize, 'nonce')
    this.#nonce.set(nonce)
    this.#check(this.#calls.EVP_CipherInit_ex(context, 0n, 0n, null, this.#nonce, -1))
  }

  /** Memory for `size` bytes of output that were not written. */
  room(size: number): Uint8Array {
    return size < 2 * moving ? Buffer.allocUnsafeSlow(2 * moving).subarray(0, size) : Buffer.allocUnsafeSlow(size)
  }

  /** A piece sealed or opened to the front of `out`, which is of {@link OpenSsl.room} and no shorter. */
  update(context: Address, piece: Uint8Array, out: Uint8Array): void {
    const size = piece.length
    if (out.length < size) throw new RangeError('there is no room for this piece')
    if (size > moving) {
      this.#check(this.#calls.EVP_CipherUpdate(context, out, this.#length, piece, size))
      return
    }
    this.#small.set(piece)
    const result = this.#calls.EVP_CipherUpdate(context, out, this.#length, this.#small, size)
    wipe(this.#small)
    this.#check(result)
  }

  /** Ends a message that is being sealed; its tag goes to the end of `out`. */
  seal(context: Address, out: Uint8Array): void {
    this.#check(this.#calls.EVP_CipherFinal_ex(context, this.#tag, this.#length))
    this.#check(this.#calls.EVP_CIPHER_CTX_ctrl(context, getTag, tagSize, this.#tag))
    out.set(this.#tag, out.length - tagSize)
  }

  /** Ends a message that is being opened: whether its tag holds. */
  holds(context: Address, tag: Uint8Array): boolean {
    if (tag.length !== tagSize) return false
    this.#tag.set(tag)
    this.#check(this.#calls.EVP_CIPHER_CTX_ctrl(context, setTag, tagSize, this.#tag))
    return this.#went(this.#calls.EVP_CipherFinal_ex(context, this.#small, this.#length))
  }

  /** Ciphertext and tag of one message. Neither `plaintext` nor `aad` has more than {@link messageSize} bytes. */
  sealMessage(aead: Aead, key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
    return this.#message(() => {
      this.#begin(this.#context, this.#ciphers[aead], key, nonce, true)
      this.#take(aad, plaintext)
      const out = this.#to.subarray(0, plaintext.length + tagSize)
      this.seal(this.#context, out)
      return copy(out)
    })
  }

  /** The plaintext of one message; `undefined` where its tag does not hold. The limits are those of {@link OpenSsl.sealMessage}. */
  openMessage(
    aead: Aead,
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    aad: Uint8Array,
  ): Uint8Array | undefined {
    const size = sealed.length - tagSize
    if (size < 0) return undefined
    return this.#message(() => {
      this.#begin(this.#context, this.#ciphers[aead], key, nonce, false)
      this.#take(aad, sealed.subarray(0, size))
      return this.holds(this.#context, sealed.subarray(size)) ? copy(this.#to.subarray(0, size)) : undefined
    })
  }

  /** A key wrapped, or 40 bytes unwrapped; `undefined` where OpenSSL refuses: they were not wrapped under this key. */
  wrap(kek: Uint8Array, input: Uint8Array, encrypt: boolean): Uint8Array | undefined {
    assertSize(input, encrypt ? keySize : keySize + 8, encrypt ? 'key' : 'wrapped key')
    return this.#message(() => {
      this.#begin(this.#context, this.#keyWrap, kek, undefined, encrypt)
      this.#from.set(input)
      const result = this.#calls.EVP_CipherUpdate(this.#context, this.#to, this.#length, this.#from, input.length)
      return this.#went(result) ? copy(this.#to.subarray(0, encrypt ? keySize + 8 : keySize)) : undefined
    })
  }

  /** A new key of 32 random bytes. */
  randomKey(): Uint8Array {
    this.#check(this.#calls.RAND_priv_bytes(this.#key, keySize))
    const key = copy(this.#key)
    wipe(this.#key)
    return key
  }

  /** The hash of at most {@link messageSize} bytes. */
  hash(name: 'sha256', data: readonly Uint8Array[]): Uint8Array {
    this.#digest(name, this.#gather(data, 0))
    return copy(this.#hashes[name].result)
  }

  /** RFC 2104 under a key of at most 64 bytes, over at most {@link messageSize} bytes. */
  hmac(name: 'sha256' | 'sha512', key: Uint8Array, data: readonly Uint8Array[]): Uint8Array {
    if (key.length > moving) throw new RangeError(`a key has at most ${moving} bytes here`)
    const { block, result } = this.#hashes[name]
    this.#pad(key, block, 0x36)
    this.#digest(name, this.#gather(data, block))
    this.#pad(key, block, 0x5c)
    this.#from.set(result, block)
    this.#digest(name, block + result.length)
    const mac = copy(result)
    wipe(result)
    return mac
  }

  /** Hashes that many bytes at the front of the slab's input, which are wiped, to its output. */
  #digest(name: 'sha256' | 'sha512', length: number): void {
    const result = this.#calls.digest(this.#from, length, this.#to, this.#length, this.#hashes[name].method)
    this.#from.fill(0, 0, length)
    this.#check(result)
  }

  #pad(key: Uint8Array, block: number, byte: number): void {
    this.#from.fill(byte, 0, block)
    for (let i = 0; i < key.length; i++) this.#from[i] = byte ^ (key[i] ?? 0)
  }

  /** Puts the pieces into the slab, from `at` on; returns where they end. */
  #gather(data: readonly Uint8Array[], at: number): number {
    for (const piece of data) {
      this.#from.set(piece, at)
      at += piece.length
    }
    return at
  }

  /** Sets up a context's cipher and key, and the nonce if there is one. */
  #begin(context: Address, cipher: Address, key: Uint8Array, nonce: Uint8Array | undefined, encrypt: boolean): void {
    assertSize(key, keySize, 'key')
    if (nonce !== undefined) assertSize(nonce, nonceSize, 'nonce')
    this.#key.set(key)
    if (nonce !== undefined) this.#nonce.set(nonce)
    const iv = nonce === undefined ? null : this.#nonce
    try {
      this.#check(this.#calls.EVP_CipherInit_ex(context, cipher, 0n, this.#key, iv, encrypt ? 1 : 0))
    } finally {
      wipe(this.#key)
    }
  }

  /** Sends associated data and a message through the context of messages. */
  #take(aad: Uint8Array, message: Uint8Array): void {
    this.#beside.set(aad)
    this.#from.set(message)
    const { EVP_CipherUpdate: update } = this.#calls
    if (aad.length > 0) this.#check(update(this.#context, null, this.#length, this.#beside, aad.length))
    if (message.length > 0) {
      this.#check(update(this.#context, this.#to, this.#length, this.#from, message.length))
    }
  }

  /** Does something with the context of messages; wipes it, and what went through the slab. */
  #message<T>(work: () => T): T {
    try {
      return work()
    } finally {
      this.#calls.EVP_CIPHER_CTX_reset(this.#context)
      wipe(this.#from, this.#to)
    }
  }

  #went(result: number): boolean {
    if (result === 1) return true
    this.#calls.ERR_clear_error()
    return false
  }

  #check(result: number): void {
    if (!this.#went(result)) throw failed()
  }
}
