/** Calls of OpenSSL over `node:ffi`, which Node has from 26.1 on: the functions that the running binary exports. */
/* c8 ignore start: test/cipher/openssl.test.ts runs this file on a Node that has node:ffi, which the one that counts coverage may lack */
import type { Calls } from './calls.ts'

/** Throws an `Error` that says why, where this Node has no `node:ffi`, or a function is missing. */
export const callsOverNodeFfi = (): Calls => {
  const ffi = process.getBuiltinModule('node:ffi')
  if (ffi === undefined) throw new Error('koffi is not installed, and this Node has no node:ffi')
  const functions = new ffi.DynamicLibrary(null).getFunctions({
    OpenSSL_version_num: { arguments: [], return: 'uint64' },
    ERR_clear_error: { arguments: [], return: 'void' },
    EVP_CIPHER_fetch: { arguments: ['pointer', 'string', 'pointer'], return: 'pointer' },
    EVP_MD_fetch: { arguments: ['pointer', 'string', 'pointer'], return: 'pointer' },
    EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
    EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
    EVP_CIPHER_CTX_reset: { arguments: ['pointer'], return: 'int32' },
    EVP_CIPHER_CTX_ctrl: { arguments: ['pointer', 'int32', 'int32', 'buffer'], return: 'int32' },
    EVP_CipherInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'buffer', 'buffer', 'int32'], return: 'int32' },
    EVP_CipherUpdate: { arguments: ['pointer', 'buffer', 'buffer', 'buffer', 'int32'], return: 'int32' },
    EVP_CipherFinal_ex: { arguments: ['pointer', 'buffer', 'buffer'], return: 'int32' },
    RAND_priv_bytes: { arguments: ['buffer', 'int32'], return: 'int32' },
    EVP_Digest: { arguments: ['buffer', 'uint64', 'buffer', 'buffer', 'pointer', 'pointer'], return: 'int32' },
  })
  return {
    ...functions,
    layer: 'node:ffi',
    OpenSSL_version_num: () => Number(functions.OpenSSL_version_num()),
    fetchCipher: name => functions.EVP_CIPHER_fetch(0n, name, 0n),
    fetchDigest: name => functions.EVP_MD_fetch(0n, name, 0n),
    digest: (from, size, out, length, method) => functions.EVP_Digest(from, BigInt(size), out, length, method, 0n),
  }
}
/* c8 ignore stop */
