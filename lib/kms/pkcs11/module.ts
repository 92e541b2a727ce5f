/**
 * The PKCS#11 modules of this process: a module is loaded once and initialized once, however many instances use it. It is never finalized,
 * since others in the process may use it, but to start it anew after its token was lost (`restart`).
 */
import type { PKCS11 } from 'pkcs11js'
import { SseError } from '../../errors.ts'
import { returnValue } from './failure.ts'

type Api = typeof import('pkcs11js')

const modules = new Map<string, Promise<TokenModule>>()

/** Loads a shared library, once. `KmsUnavailable` where it or pkcs11js is missing. */
export const loadModule = (path: string): Promise<TokenModule> => {
  const known = modules.get(path)
  if (known !== undefined) return known
  const loading = load(path)
  modules.set(path, loading)
  loading.catch(() => modules.delete(path))
  return loading
}

const load = async (path: string): Promise<TokenModule> => {
  let api: Api
  try {
    const loaded: Api & { readonly default?: Api } = await import('pkcs11js')
    api = loaded.default ?? loaded // it is CommonJS, and its types say nothing of a default
  } catch (cause) {
    const message =
      'The provider pkcs11 needs the package pkcs11js, compiled. Run npm install pkcs11js; if it is there, npm rebuild pkcs11js.'
    throw new SseError('KmsUnavailable', { message, cause })
  }
  const native = new api.PKCS11()
  try {
    native.load(path)
  } catch (cause) {
    const message = 'The PKCS#11 module cannot be loaded. Check the option module: the path of a shared library.'
    throw new SseError('KmsUnavailable', { message, cause })
  }
  return new TokenModule(api, native)
}

/** A loaded module. */
export class TokenModule {
  /** The numbers of PKCS#11. */
  readonly api: Api
  /** Its functions. */
  readonly native: PKCS11
  /** Operations under way: while there is one, the module must not be finalized. */
  working = 0
  /** Counts the starts: handles are good for one of them. */
  starts = 0

  constructor(api: Api, native: PKCS11) {
    this.api = api
    this.native = native
  }

  /** Initializes the module; false where that was done before. */
  start(parameters: string | undefined): boolean {
    const flags = this.api.CKF_OS_LOCKING_OK // without it calls of several threads crash
    try {
      // pkcs11js cuts off the last character of the parameters.
      this.native.C_Initialize(parameters === undefined ? { flags } : { flags, libraryParameters: `${parameters} ` })
      this.starts++
      return true
    } catch (error) {
      if (returnValue(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw error
      return false
    }
  }

  /**
   * Starts the module anew, because some see a token that comes back only then. Does nothing, and answers false, while an operation is under
   * way or where the module was started by someone else in the process.
   */
  restart(parameters: string | undefined): boolean {
    if (this.starts === 0 || this.working > 0) return false
    try {
      this.native.C_Finalize()
    } catch (error) {
      if (returnValue(error) !== 'CKR_CRYPTOKI_NOT_INITIALIZED') throw error
    }
    return this.start(parameters)
  }
}
