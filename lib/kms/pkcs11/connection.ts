/** A login to a token, and the sessions that work under it. */
import type { Handle } from 'pkcs11js'
import type { MaybePromise } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { returnValue } from './failure.ts'
import type { Mechanism } from './mechanism.ts'
import { loadModule, type TokenModule } from './module.ts'

/** Which token, and what is done there. */
export interface TokenOptions {
  /** Path of the module. */
  readonly module: string
  /** What the module is given at its start. */
  readonly moduleParameters?: string | undefined
  /** Label of the token, or number of its slot. */
  readonly token: string | { readonly slot: number }
  readonly mechanism: Mechanism
}

const absent = (): SseError =>
  new SseError('KmsUnavailable', {
    message: 'The token is not there. Check the option token, and that the token is connected; then try again.',
  })

/** Logs in to the token. What the token answers is thrown as pkcs11js throws it. */
export const connect = async (options: TokenOptions, pin: string): Promise<Connection> => {
  const module = await loadModule(options.module)
  const fresh = module.start(options.moduleParameters)
  let slot = findToken(module, options.token)
  if (slot === undefined && !fresh && module.restart(options.moduleParameters)) slot = findToken(module, options.token)
  if (slot === undefined) throw absent()
  return new Connection(module, options.mechanism, slot, pin)
}

const findToken = ({ native }: TokenModule, token: TokenOptions['token']): Handle | undefined => {
  const [found, ...others] = native.C_GetSlotList(true).filter(slot => {
    try {
      const { label } = native.C_GetTokenInfo(slot)
      return typeof token === 'string' ? label.trimEnd() === token : numberOf(slot) === token.slot
    } catch {
      return false // a token that was removed
    }
  })
  if (others.length === 0) return found
  throw new SseError('KmsUnavailable', {
    message: 'Several tokens have this label. Name the slot in the option token.',
  })
}

/** A slot's number: a CK_ULONG as it lies in memory. */
const numberOf = (slot: Handle): number => (slot.length === 8 ? Number(slot.readBigUInt64LE()) : slot.readUInt32LE())

/** A login, which lasts as long as one session does: so one is kept that does nothing else. */
export class Connection {
  readonly module: TokenModule
  readonly mechanism: Mechanism
  /** Handles of keys by CKA_ID, in hex. */
  readonly handles = new Map<string, Handle>()
  readonly #slot: Handle
  readonly #keeper: Handle
  readonly #start: number
  #idle: Handle[] = []
  #ended = false

  constructor(module: TokenModule, mechanism: Mechanism, slot: Handle, pin: string) {
    const { api, native } = module
    this.module = module
    this.mechanism = mechanism
    this.#slot = slot
    this.#start = module.starts
    this.#keeper = native.C_OpenSession(slot, api.CKF_SERIAL_SESSION)
    try {
      native.C_Login(this.#keeper, api.CKU_USER, pin)
    } catch (error) {
      // The login is the process's: another instance, or the program itself, may have made it.
      if (returnValue(error) === 'CKR_USER_ALREADY_LOGGED_IN') return
      this.#close(this.#keeper)
      throw error
    }
  }

  /** Whether its sessions are still there, and logged in. */
  get alive(): boolean {
    if (this.#ended || this.#start !== this.module.starts) return false
    try {
      const { state } = this.module.native.C_GetSessionInfo(this.#keeper)
      return state === 1 || state === 3 // CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
    } catch {
      return false
    }
  }

  /** Throws `KmsUnavailable`, and is of no use any more, where the token was removed. */
  assertPresent(): void {
    try {
      this.module.native.C_GetTokenInfo(this.#slot)
    } catch {
      this.end()
      throw absent()
    }
  }

  /** Does work in a session of its own: one operation at a time. A session in which something failed is closed. */
  async inSession<T>(work: (session: Handle) => MaybePromise<T>): Promise<T> {
    const { api, native } = this.module
    const session = this.#idle.pop() ?? native.C_OpenSession(this.#slot, api.CKF_SERIAL_SESSION)
    let done = false
    try {
      const answer = await work(session)
      done = true
      return answer
    } finally {
      if (done && !this.#ended) this.#idle.push(session)
      else this.#close(session)
    }
  }

  /** Does work in a session that may change keys. */
  async inWritingSession<T>(work: (session: Handle) => MaybePromise<T>): Promise<T> {
    const { api, native } = this.module
    const session = native.C_OpenSession(this.#slot, api.CKF_SERIAL_SESSION | api.CKF_RW_SESSION)
    try {
      return await work(session)
    } finally {
      this.#close(session)
    }
  }

  /** Closes the sessions; those that work, when their work is done. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    for (const session of [...this.#idle, this.#keeper]) this.#close(session)
    this.#idle = []
  }

  #close(session: Handle): void {
    if (this.#start !== this.module.starts) return // the number may be another session's by now
    try {
      this.module.native.C_CloseSession(session)
    } catch {
      // The token closed it.
    }
  }
}
