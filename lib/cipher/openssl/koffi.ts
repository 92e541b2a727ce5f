/** Calls of OpenSSL over koffi, an optional package: the functions that the running binary exports. */
import { createRequire } from 'node:module'
import type { Address, Calls } from './calls.ts'

/** The first version of koffi that will do; those of the next major will not. `package.json` says the same of the peer. */
export const koffiFrom = [3, 3, 4] as const

/** Whether koffi is installed where this package finds it. Loads nothing. */
export const hasKoffi = (): boolean => {
  try {
    createRequire(import.meta.url).resolve('koffi')
    return true
  } catch {
    return false
  }
}

const isInRange = (version: string): boolean => {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(part => Number.parseInt(part, 10))
  const [wanted, least, leastPatch] = koffiFrom
  return major === wanted && (minor > least || (minor === least && patch >= leastPatch))
}

/** Throws an `Error` that says why, where koffi or a function is missing, or koffi is out of range. */
export const callsOverKoffi = async (): Promise<Calls> => {
  const koffi = await import('koffi')
  if (!isInRange(koffi.version)) {
    throw new Error(`koffi ${koffi.version} is installed, and ^${koffiFrom.join('.')} is needed`)
  }
  const openssl = koffi.load(null)
  const pointer = 'void *'
  const fetchWith = (name: string): ((method: string) => Address) => {
    const call = openssl.func(name, pointer, [pointer, 'str', pointer])
    return method => call(null, method, null) ?? 0n
  }
  const create = openssl.func('EVP_CIPHER_CTX_new', pointer, [])
  const digest = openssl.func('EVP_Digest', 'int', [pointer, 'size_t', pointer, pointer, pointer, pointer])
  return {
    layer: 'koffi',
    OpenSSL_version_num: openssl.func('OpenSSL_version_num', 'ulong', []),
    ERR_clear_error: openssl.func('ERR_clear_error', 'void', []),
    fetchCipher: fetchWith('EVP_CIPHER_fetch'),
    fetchDigest: fetchWith('EVP_MD_fetch'),
    EVP_CIPHER_CTX_new: () => create() ?? 0n,
    EVP_CIPHER_CTX_free: openssl.func('EVP_CIPHER_CTX_free', 'void', [pointer]),
    EVP_CIPHER_CTX_reset: openssl.func('EVP_CIPHER_CTX_reset', 'int', [pointer]),
    EVP_CIPHER_CTX_ctrl: openssl.func('EVP_CIPHER_CTX_ctrl', 'int', [pointer, 'int', 'int', pointer]),
    EVP_CipherInit_ex: openssl.func('EVP_CipherInit_ex', 'int', [pointer, pointer, pointer, pointer, pointer, 'int']),
    EVP_CipherUpdate: openssl.func('EVP_CipherUpdate', 'int', [pointer, pointer, pointer, pointer, 'int']),
    EVP_CipherFinal_ex: openssl.func('EVP_CipherFinal_ex', 'int', [pointer, pointer, pointer]),
    RAND_priv_bytes: openssl.func('RAND_priv_bytes', 'int', [pointer, 'int']),
    digest: (from, size, out, length, method) => digest(from, size, out, length, method, 0n),
  }
}
