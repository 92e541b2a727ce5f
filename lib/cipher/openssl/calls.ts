/**
 * The functions of OpenSSL 3 that the engine calls, with the arguments that C gives them. Two call layers offer them: koffi and `node:ffi`.
 * Neither computes an address: contexts and methods are the addresses that OpenSSL returned, everything else is passed as a buffer, which is
 * borrowed for the call.
 */

/** An address that OpenSSL returned; `0n` where it returned none. */
export type Address = bigint

/** What native code reads or writes during a call. */
export type Memory = Uint8Array | null

/** OpenSSL, as it can be called. Integers that are returned are 1 where the call went well, but for the version. */
export interface Calls {
  /** What makes the calls. */
  readonly layer: 'koffi' | 'node:ffi'
  /** 0xMNN00PP0 for version M.N.P. */
  readonly OpenSSL_version_num: () => number
  readonly ERR_clear_error: () => void
  /** `EVP_CIPHER_fetch` with the default library and properties. */
  readonly fetchCipher: (name: string) => Address
  /** `EVP_MD_fetch` with the default library and properties. */
  readonly fetchDigest: (name: string) => Address
  readonly EVP_CIPHER_CTX_new: () => Address
  readonly EVP_CIPHER_CTX_free: (context: Address) => void
  readonly EVP_CIPHER_CTX_reset: (context: Address) => number
  readonly EVP_CIPHER_CTX_ctrl: (context: Address, type: number, size: number, bytes: Memory) => number
  /** `engine` is always `0n`. `encrypt` is 1, 0, or -1 to leave it as it is. */
  readonly EVP_CipherInit_ex: (
    context: Address,
    cipher: Address,
    engine: Address,
    key: Memory,
    nonce: Memory,
    encrypt: number,
  ) => number
  readonly EVP_CipherUpdate: (context: Address, out: Memory, length: Memory, from: Memory, size: number) => number
  readonly EVP_CipherFinal_ex: (context: Address, out: Memory, length: Memory) => number
  /** Secret random bytes of OpenSSL's own generator. */
  readonly RAND_priv_bytes: (out: Memory, size: number) => number
  /** `EVP_Digest` with the default implementation. */
  readonly digest: (from: Memory, size: number, out: Memory, length: Memory, digest: Address) => number
}
