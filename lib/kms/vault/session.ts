/**
 * The token that Vault is called with: had when it is first needed, renewed before it expires, had anew when it was refused. However short
 * Vault makes leases, and whatever it refuses, there is a floor between two tries.
 */
import { SseError } from '../../errors.ts'
import { orAborted } from '../call.ts'

/** What a login or a renewal gives. */
export interface Grant {
  readonly token: string
  /** Seconds that it lives; 0 for ever. */
  readonly lease: number
  readonly renewable: boolean
}

/** How tokens are had. */
export interface TokenSource {
  /** Whether {@link TokenSource.login} may give another token than before. */
  readonly again: boolean
  /** Logs in. Rejects with an `SseError`. */
  login(): Promise<Grant>
  /** Renews a token. Rejects with an `SseError`. */
  renew(token: string): Promise<Grant>
}

const floor = 1000
const mostWait = 64_000
const mostTimer = 2 ** 31 - 1 // a timer that is longer fires at once

interface Held extends Grant {
  /** When it no longer counts, in ms of the monotonic clock. */
  readonly until: number
}

/** A token, kept valid. */
export class Session {
  readonly #source: TokenSource
  #held: Held | undefined
  #login: Promise<string> | undefined
  #failure: unknown
  #tried = -Infinity
  /** Least ms from a login to the next: grows while logins are refused. */
  #wait = floor
  /** Least ms from a login to one that a refused call asks for: grows while they help nothing, as where a right is missing. */
  #patience = floor
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(source: TokenSource) {
    this.#source = source
  }

  /** The token. Calls at the same time share one login, which goes on where one of them aborts. */
  token(signal?: AbortSignal): Promise<string> {
    if (this.#held !== undefined && performance.now() < this.#held.until) return Promise.resolve(this.#held.token)
    if (this.#login === undefined && this.#since() < this.#wait) return Promise.reject(this.#failure)
    return orAborted(this.#loggedIn(), signal)
  }

  /** After a call was refused with this token: another to try once more with; `undefined` where there is none, or none yet. */
  async another(refused: string, signal?: AbortSignal): Promise<string | undefined> {
    if (this.#held !== undefined && this.#held.token !== refused) return this.#held.token
    if (!this.#source.again || (this.#login === undefined && this.#since() < this.#patience)) return undefined
    const token = await orAborted(this.#loggedIn(), signal)
    return token === refused ? undefined : token
  }

  /** Whether {@link Session.another} helped. */
  judge(helped: boolean): void {
    this.#patience = helped ? floor : longer(this.#patience)
  }

  /** Forgets the token, and ends its timer. */
  close(): void {
    this.#closed = true
    this.#held = undefined
    clearTimeout(this.#timer)
  }

  #since(): number {
    return performance.now() - this.#tried
  }

  #loggedIn(): Promise<string> {
    this.#login ??= this.#logIn().finally(() => {
      this.#login = undefined
    })
    return this.#login
  }

  async #logIn(): Promise<string> {
    this.#tried = performance.now()
    try {
      const grant = await this.#source.login()
      this.#keep(grant)
      this.#failure = expiredAtOnce()
      this.#wait = floor
      return grant.token
    } catch (error) {
      this.#failure = error
      this.#wait = isRefusal(error) ? longer(this.#wait) : floor
      throw error
    }
  }

  #keep(grant: Grant): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    const life = grant.lease > 0 ? Math.max(grant.lease * 900, floor) : Infinity // 9/10 of it, in ms
    this.#held = { ...grant, until: performance.now() + life }
    if (grant.renewable && life !== Infinity) this.#renewIn((grant.lease * 2000) / 3, grant)
  }

  #renewIn(ms: number, grant: Grant): void {
    this.#timer = setTimeout(() => void this.#renew(grant), Math.min(Math.max(ms, floor), mostTimer))
    this.#timer.unref()
  }

  /** A renewal that gives less than half of the lease before is the last one: the token ends then, and the next call logs in. */
  async #renew(before: Grant): Promise<void> {
    if (this.#held?.token !== before.token) return
    try {
      const grant = await this.#source.renew(before.token)
      if (this.#held?.token !== before.token) return
      this.#keep({ ...grant, renewable: grant.renewable && grant.lease * 2 >= before.lease })
    } catch (error) {
      if (isRefusal(error) || this.#held?.token !== before.token || performance.now() >= this.#held.until) return
      this.#renewIn((before.lease * 1000) / 30, before)
    }
  }
}

const longer = (wait: number): number => Math.min(wait * 2, mostWait)

const isRefusal = (error: unknown): boolean => error instanceof SseError && error.code === 'KeyAccessDenied'

const expiredAtOnce = (): SseError =>
  new SseError('KmsUnavailable', { message: 'The token expired at once. Let Vault give tokens that live longer.' })
